//! The house's one suite, on a real server.

mod support;

use std::process::ExitCode;

use waypost_testkit::containers::zookeeper_address;
use waypost_testkit::main as run;

use support::Zookeeper;

fn main() -> ExitCode {
    run(async || Zookeeper::at(zookeeper_address().await?, "", None).await)
}
