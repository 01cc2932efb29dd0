//! The waypost command, with the registries that are compiled in.

use std::process::ExitCode;

fn main() -> ExitCode {
    waypost_cli::run(waypost::Drivers::builtin())
}
