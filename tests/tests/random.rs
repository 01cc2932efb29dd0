//! Random faults on real servers.

use std::path::Path;
use std::process::ExitCode;

use waypost_tests::random::{self, Places};

fn main() -> ExitCode {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = scratch.parent().unwrap_or(scratch);
    let Ok(writer) = std::env::current_exe() else {
        return ExitCode::from(2);
    };
    random::main(Places {
        writer,
        histories: target.join("waypost"),
    })
}
