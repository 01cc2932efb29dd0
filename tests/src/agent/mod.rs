//! A process that registers nodes: what it is told, what it tells, and a handle on it.

mod order;
mod process;
mod work;

pub use order::{Order, Report};
pub use process::{Agent, Signal};
pub use work::work;
