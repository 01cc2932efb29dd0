#![doc = include_str!("../README.md")]

mod answer;
mod calls;
mod client;
mod config;
mod error;
mod feed;
mod http;
mod lease;
mod leftover;
mod owner;
mod record;
mod registry;
mod removal;
mod rounds;
mod scan;
mod tags;
mod watcher;

pub use config::DRIVER;
pub use registry::ConsulRegistry;
