//! A program that is kept running, and registered while it is well.
//!
//! Four parts, each of which can be looked at alone: [`Program`] is the process, [`Probe`] asks it
//! how it is, [`Health`] makes a verdict of the answers, [`Restart`] says what follows its end.

mod health;
mod probe;
mod program;
mod restart;

pub(crate) use health::{Health, Verdict};
pub(crate) use probe::{Probe, Url};
pub(crate) use program::{Program, code};
pub(crate) use restart::{End, Next, Restart, Restarts};
