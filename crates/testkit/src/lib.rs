//! Runs the conformance suite under libtest; containers and a TCP fault proxy for tests.
//!
//! A plugin's `tests/conformance.rs` (with `harness = false`) names its subject and nothing else:
//!
//! ```no_run
//! # use waypost_core::Driver;
//! # fn example(driver: &'static Driver) -> std::process::ExitCode {
//! use waypost_testkit::{Driven, main};
//!
//! main(async || Ok(Driven::new(driver, |namespace| format!("file:///tmp/{namespace}"))))
//! # }
//! ```
//!
//! Every case is one trial by its own name, the same for every plugin. One that does not apply is
//! shown as `ignored` with the reason. When the backend cannot be had at all (no Docker), every
//! case is ignored with that reason; with `WAYPOST_REQUIRE=docker` every case fails instead.
//!
//! A plugin's own tests on a server are laws, by [`laws!`] and [`keep`]; older versions of a server
//! run the suite by [`versions`].
//!
//! * Feature `containers`: servers in containers.
//! * Feature `python`: scripts in Python, for other people's clients.
//! * Feature `proxy`: a TCP proxy whose faults are switched while it runs.

#[cfg(feature = "containers")]
pub mod containers;
mod harness;
mod laws;
mod missing;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "python")]
mod python;

pub use async_trait::async_trait;
pub use harness::{main, versions};
pub use laws::{Kept, Law, keep};
pub use missing::Missing;
#[cfg(feature = "python")]
pub use python::Python;
pub use waypost_conformance::{Case, Cut, Driven, Outcome, Planted, Subject, cases};
