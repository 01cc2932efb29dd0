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
    /// Which bench, and what it takes: `registry [--json]`, `picks [--json]`, `calls [--json]`,
    /// `survive`.
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
    match options.arguments.split_first() {
        Some((bench, rest)) if bench == "picks" => picks(rest),
        Some((bench, rest)) if bench == "calls" => peers("waypost-calls", rest),
        Some((bench, _)) if bench == "survive" => survive(),
        _ => registry(&options.arguments),
    }
}

fn picks(arguments: &[String]) -> anyhow::Result<bool> {
    tools::present("cmake", "one of the peers, pingora, builds zlib-ng with it")?;
    peers("waypost-peers", arguments)
}

/// The peers stand in a workspace of their own.
fn peers(package: &str, arguments: &[String]) -> anyhow::Result<bool> {
    let status = tools::cargo()?
        .current_dir(tools::root()?.join("benches/peers"))
        .args(["run", "--quiet", "--release", "--locked"])
        .args(["--package", package, "--"])
        .args(arguments)
        .status()?;
    Ok(status.success())
}

/// Calls with a dead node in the list, beside tonic's and reqwest's own ways.
fn survive() -> anyhow::Result<bool> {
    let status = tools::cargo()?
        .args(["run", "--quiet", "--release", "--package", "waypost-client"])
        .args(["--example", "survive"])
        .status()?;
    Ok(status.success())
}

fn registry(arguments: &[String]) -> anyhow::Result<bool> {
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
        .args(arguments)
        .status()?;
    Ok(status.success())
}
