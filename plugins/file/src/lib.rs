#![doc = include_str!("../README.md")]

mod clock;
mod config;
mod error;
mod head;
mod hub;
#[cfg_attr(not(target_os = "linux"), path = "kernel_none.rs")]
mod kernel;
mod lease;
mod name;
mod registry;
mod shared;
mod store;
mod watcher;

pub use config::{DRIVER, FileOptions};
pub use registry::FileRegistry;
