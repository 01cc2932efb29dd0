//! From the command line to the exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use tracing_subscriber::EnvFilter;
use waypost::Drivers;

use crate::arguments::Arguments;
use crate::command;
use crate::failure::{Failure, OK, Outcome, USAGE};
use crate::output::{Format, Output};
use crate::session::Session;

/// Runs the command of this process's arguments, with `drivers` to choose from.
///
/// Takes over the process: it reads arguments and environment, writes to the standard streams,
/// takes signals and installs a `tracing` subscriber (`RUST_LOG`; warnings by default).
#[must_use]
pub fn run(drivers: Drivers) -> ExitCode {
    let plain = Output::new(Format::Table, false);
    let matches = match Arguments::command().try_get_matches_from(waypost::flags::argv()) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version go to the standard output and are no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { OK });
        }
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.to_string();
            plain.error(text.strip_prefix("error: ").unwrap_or(&text));
            return ExitCode::from(USAGE);
        }
    };
    let output = Output::new(arguments.common.format(), arguments.common.no_color);
    log();
    let code = start(drivers, arguments, output).unwrap_or_else(|failure| {
        if let Some(message) = &failure.message {
            output.error(message);
        }
        failure.code
    });
    ExitCode::from(code)
}

fn log() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("waypost=warn"));
    // A program that has its own subscriber keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .compact()
        .try_init();
}

fn start(drivers: Drivers, arguments: Arguments, output: Output) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::no(format!("cannot start: {error}")))?;
    let timeout = arguments.common.timeout;
    let session = Session::new(drivers, arguments.flags, output, timeout);
    let result = runtime.block_on(command::perform(&session, arguments.command));
    // A read of the standard input may still be blocked; nothing waits for it.
    runtime.shutdown_background();
    result
}
