#![doc = include_str!("../README.md")]

mod alarms;
mod claims;
mod config;
mod dial;
mod error;
mod feed;
mod guard;
mod handshake;
mod lease;
mod leash;
mod reach;
mod read;
mod registry;
mod sane;
mod session;
mod sessions;
mod tls;
mod view;
mod watcher;
mod znode;

pub use config::DRIVER;
