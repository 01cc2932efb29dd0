//! What a real server says to the plugin: one trial a law, ignored with the reason without Docker.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a real server cannot be told to hurry"
)]

mod foreign;
mod help;
mod layout;
mod login;
mod owners;
mod sessions;
mod tls;
mod watches;

use std::process::ExitCode;

use waypost_testkit::keep;

fn main() -> ExitCode {
    keep(&[
        foreign::LAWS,
        layout::LAWS,
        owners::LAWS,
        sessions::LAWS,
        watches::LAWS,
        login::LAWS,
        tls::LAWS,
    ])
}
