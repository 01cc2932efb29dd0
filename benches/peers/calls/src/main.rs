//! Compares calls with other clients' calls, all sides in one run.
//!
//! `cargo xtask bench calls [--json]` builds this in release and runs it. Three HTTP/1.1 and three
//! gRPC servers are a process of their own on one CPU; each turn is a process on another CPU with one
//! thread and 64 calls in flight, whose CPU time is divided by its calls. Everybody takes a turn in
//! each round, once on the way down the list and once on the way up, and ratios are of turns of one
//! pass. Who differs from itself by more than 2 % between the passes is not judged.

mod goals;
mod grpc;
mod http;
mod mode;
mod ours;
mod report;
mod rounds;
mod serve;
mod turn;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tokio::time::Instant;
use waypost_figures::{Report, exit, load};

use crate::mode::Mode;
use crate::report::Calls;

/// Compares calls with those of other clients in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench calls", about)]
struct Arguments {
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Rounds, in each of which everybody has two turns; fewer, but three, where time is up before.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Minutes after which no round begins.
    #[arg(long, default_value_t = 3.5)]
    minutes: f64,
    /// Calls a turn.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    calls: u64,
    /// Only these, by name.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Mode>,
    /// The part of a run that this process is.
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    /// The servers.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        cpu: usize,
    },
    /// One turn.
    #[command(hide = true)]
    Turn {
        #[arg(long)]
        mode: Mode,
        #[arg(long)]
        cpu: usize,
        #[arg(long)]
        calls: u64,
        /// Where the three servers of this mode's protocol listen.
        #[arg(long, value_delimiter = ',')]
        servers: Vec<SocketAddr>,
    },
}

fn run(arguments: &Arguments) -> Result<bool> {
    match &arguments.part {
        Some(Part::Serve { cpu }) => serve::run(*cpu).map(|()| true),
        Some(Part::Turn {
            mode,
            cpu,
            calls,
            servers,
        }) => turn::run(*mode, *cpu, *calls, servers).map(|()| true),
        None => compare(arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<bool> {
    let modes: Vec<Mode> = match arguments.only.is_empty() {
        true => Mode::ALL.to_vec(),
        false => arguments.only.clone(),
    };
    let begun = load();
    let until = Instant::now() + Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    let shown = rounds::run(&modes, arguments.rounds as usize, arguments.calls, until)?;
    let report = Report {
        bench: "calls",
        load: [begun, load()],
        goals: goals::of(&shown),
        figures: Calls {
            calls: arguments.calls,
            shown,
        },
    };
    report.show(arguments.json)
}

fn main() -> ExitCode {
    exit(run(&Arguments::parse()))
}
