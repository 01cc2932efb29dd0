//! Chores of the house: `cargo xtask test | check | faults | fuzz | mutants | bench`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its terminal"
)]

mod build;
mod check;
mod faults;
mod fuzz;
mod mutants;
mod report;
mod servers;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the house.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Builds everything, starts one container a backend, runs every test, prints one table.
    ///
    /// Without Docker the cases that need a server are shown as ignored, with the reason;
    /// WAYPOST_REQUIRE=docker turns that into failures.
    Test(test::Options),
    /// Format, lints, each feature alone, docs.
    Check(check::Options),
    /// Draws faults from a seed, on a real server with processes, watches and directories, and
    /// judges the recorded history.
    ///
    /// A failure prints the seed, the schedule up to there, which law is broken where, and the
    /// history's file.
    Faults(faults::Options),
    /// Runs the fuzz targets, two at once; a finding fails and its input is kept.
    Fuzz(fuzz::Options),
    /// Breaks the keeper and the directory on purpose, in a copy, and expects a test to tell.
    Mutants(mutants::Options),
    /// Compares with the peers in one run; JSON with --json.
    Bench(BenchOptions),
}

#[derive(Debug, clap::Args)]
struct BenchOptions {
    /// Which bench, and what it takes: `registry [--json]`, `survive`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Check(options) => check::run(&options),
        Chore::Faults(options) => faults::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Bench(options) => bench(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn bench(options: &BenchOptions) -> anyhow::Result<bool> {
    if options
        .arguments
        .first()
        .is_some_and(|bench| bench == "survive")
    {
        let status = tools::cargo()?
            .args(["run", "--quiet", "--release", "--package", "waypost-client"])
            .args(["--example", "survive"])
            .status()?;
        return Ok(status.success());
    }
    tools::images(&["etcd", "consul", "zookeeper"])?;
    let status = tools::cargo()?
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "waypost-benches",
            "--",
        ])
        .args(&options.arguments)
        .status()?;
    Ok(status.success())
}
