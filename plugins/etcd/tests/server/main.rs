//! What a real server says to the plugin: one trial a law, ignored with the reason without Docker.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a real server cannot be told to hurry"
)]

mod endpoints;
mod guard;
mod history;
mod layout;
mod leases;
mod login;
mod support;
mod tls;

use std::process::ExitCode;

use waypost_testkit::keep;

fn main() -> ExitCode {
    keep(&[
        layout::LAWS,
        leases::LAWS,
        guard::LAWS,
        history::LAWS,
        endpoints::LAWS,
        login::LAWS,
        tls::LAWS,
    ])
}
