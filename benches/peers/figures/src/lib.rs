//! What the comparisons share: series of values, goals with their verdicts, the machine.

mod goal;
mod machine;
mod series;

pub use goal::{Goal, Verdict, table};
pub use machine::{cpus, load, pin, thread_cpu};
pub use series::Series;
