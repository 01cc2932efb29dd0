//! Service registration, discovery and fault-tolerant calls.
//!
//! This crate is the door to the house: it re-exports the vocabulary and the contract of
//! `waypost-core`, and it alone knows the plugins, each behind a cargo feature of its own name.
//!
//! | feature | registry |
//! |---|---|
//! | `memory` (default) | one process |
//! | `file` (default) | several processes on one machine, nothing to install |
//! | `static` (default) | a list in the address |
//! | `dns` | SRV, DNS-SD, A and AAAA records |
//! | `etcd` | etcd 3.x |
//! | `consul` | Consul 1.8 and later |
//! | `zookeeper` | ZooKeeper 3.4 and later |
//! | `all` | all of them |
//! | `server` | [`server`]: the life of a service, for an axum router |
//! | `tonic` | gRPC services for it |
//! | `prometheus` | its metrics, recorded and shown |
//! | `client` | [`client`]: calls that survive, [`selector`]: how a node is picked, [`resilience`]: how a call is tried again; with `prost`, `tonic`, `tower`, `reqwest`, `axum` for what people have already |
//! | `flags` | [`flags`]: go-micro's command-line flags for your own binary |
//!
//! # Choosing a registry
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```no_run")]
//! use waypost::{Drivers, Origin, ServiceName, Target};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> waypost::Result<()> {
//! let target = Target::parse("memory", None, Origin::Code)?;
//! let registry = Drivers::builtin().connect(&target).await?;
//! assert!(registry.lookup(&ServiceName::new("orders")?).await?.is_empty());
//! # Ok(())
//! # }
//! ```

#[cfg(all(feature = "client", feature = "flags"))]
mod dialled;
mod drivers;
mod nearest;
#[cfg(all(feature = "client", feature = "server"))]
mod pages;

#[cfg(feature = "flags")]
pub mod flags;

#[cfg(feature = "server")]
#[doc(inline)]
pub use waypost_server as server;

#[cfg(feature = "client")]
#[doc(inline)]
pub use waypost_client as client;

/// How a node is picked: a client's [`Rules`](selector::Rules).
#[cfg(feature = "client")]
#[doc(inline)]
pub use waypost_selector as selector;

/// Deadlines, retries and what travels with a call.
#[cfg(any(feature = "client", feature = "server"))]
#[doc(inline)]
pub use waypost_resilience as resilience;

pub use drivers::Drivers;
pub use nearest::nearest;
#[cfg(all(feature = "client", feature = "server"))]
pub use pages::client_pages;
#[doc(inline)]
pub use waypost_core::*;

/// The README's examples are compiled, and the first is run.
#[cfg(all(doctest, feature = "memory", feature = "client", feature = "server"))]
#[doc = include_str!("../../../README.md")]
#[derive(Debug)]
pub struct ReadMe;
