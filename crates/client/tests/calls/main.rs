//! Calls over real sockets, to nodes that fail in every way that is known.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod faults;
mod hops;
mod input;
mod node;
mod pool;
mod stage;
mod survive;
