//! Random schedules of faults against one real server, and what must hold of the history.
//!
//! A seed gives a [`Schedule`]: rounds of one or two mishaps, each followed by a time in which
//! everything heals. A [`tape`] holds [`record`]s of what every writer did, every watch was told, every
//! directory showed and every fresh lookup found; [`VALIDATORS`] judge the finished history.

mod inject;
mod mishap;
mod others;
mod program;
pub mod record;
mod run;
mod schedule;
mod story;
pub mod tape;
mod usage;
mod validators;
mod verdict;
mod windows;

pub use mishap::{Millis, Mishap, Trouble, Whose};
pub use program::main;
pub use run::{Places, Wish, run};
pub use schedule::{Planned, Round, Schedule};
pub use story::Story;
pub use validators::{Breach, VALIDATORS, Validator};
pub use verdict::Verdict;
