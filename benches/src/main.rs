//! Compares Waypost with its peers, both sides in one process and one run.
//!
//! `cargo xtask bench registry [--json]` builds this in release and runs it. Peer and ours take
//! turns, so that what the machine does besides hits both; the peer's own spread tells how far the
//! comparison can be believed, and above 15 % there is no verdict. CPU time is of this process or
//! thread alone.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its terminal"
)]

mod alternate;
mod clock;
mod registry;
mod report;
mod series;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Compares Waypost with its peers in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", about)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Leases, registration, watches and the directory, on etcd and in memory.
    Registry(registry::Options),
    /// The process that `registry` starts to keep instances registered.
    #[command(hide = true)]
    Keep(registry::steady::Keep),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What a user's service has on this machine.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match arguments.bench {
                Bench::Registry(options) => registry::run(options).await,
                Bench::Keep(keep) => registry::steady::keep(keep).await,
            }
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
