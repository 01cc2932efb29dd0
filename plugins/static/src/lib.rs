#![doc = include_str!("../README.md")]

mod config;
mod error;
mod file;
mod list;
mod registry;
mod watcher;

pub use config::{DRIVER, StaticOptions};
pub use registry::StaticRegistry;
