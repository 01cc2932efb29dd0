#![doc = include_str!("../README.md")]

mod config;
mod error;
mod lease;
mod registry;
mod state;
mod watcher;

pub use config::DRIVER;
pub use registry::MemoryRegistry;
