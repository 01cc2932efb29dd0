//! What every Waypost plugin needs and none may write again.
//!
//! * [`codec`]: go-micro's JSON of a record, written exactly and read tolerantly.
//! * [`layout`]: go-micro's keys under a prefix.
//! * [`Known`]: what is known of a registry, and the difference to what it holds now.
//! * [`channel`]: the bounded way from a backend's stream to a watcher.
//! * [`relist`]: the one paced relist, for what must be polled.
//! * [`Pace`]: the pace of a loop that somebody else could make spin.
//! * [`expire`]: the one timer of records that carry a deadline.
//! * [`options`]: a target's options, read by the driver's table.
//! * [`tls`]: certificates and keys named by options.
//!
//! A plugin translates; it keeps no time. Timers are here and in `waypost-core` only.

mod channel;
pub mod codec;
mod deadlines;
mod hints;
mod known;
pub mod layout;
pub mod options;
mod pace;
mod queue;
mod relist;
mod task;
pub mod tls;

pub use channel::{Events, Publisher, channel};
pub use deadlines::{Waking, expire};
pub use hints::{Hinter, Hints, hints};
pub use known::Known;
pub use options::{OptionReader, option};
pub use pace::Pace;
pub use relist::{Listing, relist};
pub use task::Task;
