//! The house's one suite, on a real server.

mod support;

use std::process::ExitCode;

use waypost_testkit::containers::etcd_address;
use waypost_testkit::main as run;

use support::Etcd;

fn main() -> ExitCode {
    run(async || Etcd::at(etcd_address().await?, None).await)
}
