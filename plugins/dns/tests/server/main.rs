//! What real name servers say to the plugin: one trial a law, ignored with the reason without Docker.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a real server cannot be told to hurry"
)]

mod answers;
mod large;
mod outage;
mod support;
mod wrong;

use std::process::ExitCode;

use waypost_testkit::keep;

fn main() -> ExitCode {
    keep(&[answers::LAWS, large::LAWS, outage::LAWS, wrong::LAWS])
}
