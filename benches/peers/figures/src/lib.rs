//! What the comparisons share: series of values, goals with their verdicts, the machine.

mod goal;
mod machine;
mod report;
mod series;

pub use goal::{Goal, Verdict};
pub use machine::{cpus, load, pin, thread_cpu};
pub use report::{Figures, Report, exit};
pub use series::Series;
