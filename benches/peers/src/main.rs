//! Compares the selector with other pickers, all sides in one process and one run.
//!
//! `cargo xtask bench picks [--json]` builds this in release and runs it. Everybody takes turns, so
//! that what the machine does besides hits all; figures are CPU time of the picking thread, and the
//! least of them counts. The floor stands twice in every turn: where it differs from itself by more
//! than 15 %, there is no verdict.

mod allocations;
mod floor;
mod goals;
mod measure;
mod moved;
mod nodes;
mod ours;
mod peers;
mod rebuild;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use waypost_figures::{Report, exit, load};

use crate::report::{Picks, Size};

/// Compares picks with those of others in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench picks", about)]
struct Arguments {
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Numbers of nodes.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    nodes: Vec<usize>,
    /// Turns that everybody takes.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(7..))]
    rounds: u32,
}

fn sized(nodes: usize, rounds: usize) -> Result<Size> {
    eprintln!("{nodes} nodes");
    let mut contenders: Vec<_> = floor::contenders(nodes)?.into();
    contenders.extend(ours::contenders(nodes)?);
    contenders.extend(peers::contenders(nodes)?);
    Ok(Size {
        nodes,
        alone: measure::alone(&contenders, rounds)?,
        together: measure::together(&contenders, rounds)?,
    })
}

fn run(arguments: &Arguments) -> Result<bool> {
    let (begun, rounds) = (load(), arguments.rounds as usize);
    let sizes = arguments.nodes.iter().map(|nodes| sized(*nodes, rounds));
    let sizes: Vec<Size> = sizes.collect::<Result<_>>()?;
    let (mut rebuilt, mut moved) = (Vec::new(), Vec::new());
    for nodes in [1_000, 10_000] {
        eprintln!("one of {nodes} nodes changes");
        rebuilt.extend(rebuild::run(nodes, 7)?);
    }
    for nodes in [5, 50, 500] {
        moved.extend(moved::run(nodes)?);
    }
    let report = Report {
        bench: "picks",
        load: [begun, load()],
        goals: goals::of(&sizes, &rebuilt, &moved),
        figures: Picks {
            sizes,
            rebuilt,
            moved,
        },
    };
    report.show(arguments.json)
}

fn main() -> ExitCode {
    exit(run(&Arguments::parse()))
}
