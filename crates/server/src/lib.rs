//! The life of a service: bind, serve, prove, register, drain, leave.
//!
//! A [`Service`] serves an axum router, gRPC services, or both on one port, and is found by its name
//! for exactly as long as it can answer:
//!
//! 1. It binds, serves, and dials its own advertised address. Only then is it registered, and it
//!    looks itself up before it calls itself ready.
//! 2. Its record is kept up, and follows its health checks.
//! 3. On SIGTERM, SIGINT, SIGQUIT or [`Stop::stop`] the record goes first. The listener closes when
//!    callers have had the time to learn of it, and what is under way is finished, up to a deadline.
//!
//! ```
//! use axum::{Router, routing::get};
//! use waypost_server::Service;
//! # use std::sync::Arc;
//! # use waypost_core::{Registry, Result};
//!
//! # async fn example(registry: Arc<dyn Registry>) -> Result<()> {
//! Service::builder("greeter")
//!     .version("1.2.0")
//!     .registry(registry)
//!     .serve(Router::new().route("/hello", get(|| async { "hello" })))
//!     .run()
//!     .await
//! # }
//! ```

mod admin;
mod advertise;
mod board;
mod builder;
mod check;
mod counters;
mod fault;
mod front;
#[cfg(feature = "tonic")]
mod grpc;
mod hooks;
mod life;
mod listen;
mod observe;
mod owned;
mod panics;
mod plan;
mod presence;
mod probes;
#[cfg(feature = "prometheus")]
mod prometheus;
mod running;
mod signals;
mod stop;
mod trace;

pub use admin::{Admin, AdminListener, Page, Query};
pub use builder::{Service, ServiceBuilder};
pub use check::Check;
#[cfg(feature = "prometheus")]
pub use prometheus::Prometheus;
pub use running::Running;
pub use stop::Stop;
pub use trace::TraceContext;

/// The node metadata key under which a process announces its admin listener, as `host:port`.
pub const ADMIN_KEY: &str = "waypost-admin";

/// The README's example is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct ReadMe;
