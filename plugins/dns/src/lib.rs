#![doc = include_str!("../README.md")]

mod ask;
mod config;
mod error;
mod instance;
mod names;
mod reading;
mod registry;
mod servers;
mod service;
mod watcher;
mod zone;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use config::DRIVER;
pub use registry::DnsRegistry;
