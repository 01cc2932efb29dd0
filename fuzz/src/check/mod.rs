//! The targets.

pub mod consul;
pub mod file;
pub mod flags;
pub mod names;
pub mod record;
pub mod snapshot;
pub mod tags;
pub mod target;
