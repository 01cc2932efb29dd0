//! A service's life, seen from outside of it, within one process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and some handlers panic"
)]

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod health;
mod input;
mod leave;
mod requests;
mod start;
mod subject;
