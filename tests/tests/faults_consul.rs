//! The fault suite on Consul.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use waypost_tests::faults;
use waypost_tests::suite::{self, Places};

fn main() -> ExitCode {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = scratch.parent().unwrap_or(scratch);
    suite::main(
        faults::consul(),
        Places {
            agent: PathBuf::from(env!("CARGO_BIN_EXE_waypost-test-agent")),
            table: target.join("waypost/faults-consul.json"),
        },
    )
}
