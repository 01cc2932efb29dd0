//! Waypost registry on etcd leases.
//!
//! A record is one key, `/micro/registry/<service>/<node>`, with go-micro's JSON of a service that
//! has exactly one node, attached to a lease of its own: what go-micro v2 to v6 write and read.
//! What go-micro v1 and micro v3 wrote is found as well.
//!
//! * `endpoints`: the addresses, which of them is used, who is logged in.
//! * `keepalive`: few streams renew the leases of all records.
//! * `guard`: one watch a service tells when a record of ours was deleted behind our back.
//! * `range`, `view`, `watcher`: a snapshot at one revision, and everything after it.
//!
//! Choose it through [`DRIVER`]; options and costs are in the package's README.

mod claim;
mod config;
mod endpoint;
mod endpoints;
mod error;
mod guard;
mod guarded;
mod keepalive;
mod layout;
mod lease;
mod range;
mod registry;
mod turn;
mod view;
mod watcher;

pub use config::DRIVER;
