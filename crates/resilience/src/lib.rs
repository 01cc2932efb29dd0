#![doc = include_str!("../README.md")]

mod config;
mod deadline;

pub mod code;

pub use config::ConfigError;
pub use deadline::{BadTimeout, Bounded, Deadline, Expired, GRPC_TIMEOUT, TIMEOUT, TimeoutRule};
