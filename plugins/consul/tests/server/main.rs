//! What a real agent says to the plugin: one trial a law, ignored with the reason without Docker.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a real agent cannot be told to hurry"
)]

mod foreign;
mod layout;
mod limits;
mod moving;
mod removal;
mod rights;
mod secured;
mod support;

use std::process::ExitCode;

use waypost_testkit::keep;

fn main() -> ExitCode {
    keep(&[
        foreign::LAWS,
        layout::LAWS,
        removal::LAWS,
        rights::LAWS,
        secured::LAWS,
        limits::LAWS,
        moving::LAWS,
    ])
}
