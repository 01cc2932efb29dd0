//! A process that registers nodes: what it is told, what it tells, and a handle on it.

mod clock;
mod journal;
mod order;
mod process;
mod serve;
mod slow;
mod work;
mod writer;

pub use clock::Clock;
pub use journal::{Act, Doing};
pub use order::{Order, Report};
pub use process::{Agent, Signal};
pub use serve::{SERVES, serve};
pub use slow::{Seen, Watch, Watching, watch};
pub use work::work;
pub use writer::write;
