//! Everybody's turns, each a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use tokio::time::Instant;

use anyhow::{Context, Result, bail};
use waypost_figures::{Series, cpus};

use crate::mode::Mode;
use crate::serve::Addresses;
use crate::turn::Turn;

/// Rounds that are needed to say anything.
const FEWEST: usize = 3;

/// All turns of one mode: by round, on the way down and on the way up.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) mode: Mode,
    pub(crate) passes: [Vec<Turn>; 2],
}

impl Shown {
    /// One figure of all turns.
    pub(crate) fn all(&self, figure: impl Fn(&Turn) -> f64) -> Series {
        Series::new(self.passes.iter().flatten().map(figure).collect())
    }

    /// One figure, times the other's of the same pass.
    pub(crate) fn over(&self, other: &Self, figure: impl Fn(&Turn) -> f64) -> Series {
        let turns = self.passes.iter().flatten();
        let pairs = turns.zip(other.passes.iter().flatten());
        Series::new(
            pairs
                .map(|(one, other)| figure(one) / figure(other))
                .collect(),
        )
    }

    /// By how much the CPU time of the one half of its turns differs from the other's.
    pub(crate) fn doubt(&self) -> f64 {
        let [down, up] = &self.passes;
        let halves = [[down, up], [up, down]].map(|order| {
            // Crosswise, so that a slope of the whole run is in both halves.
            let turns = (0..down.len()).filter_map(|round| order[round % 2].get(round));
            Series::new(turns.map(|turn| turn.cpu).collect()).median()
        });
        (halves[0] / halves[1] - 1.0).abs()
    }
}

/// The servers' process; it ends when this is dropped.
struct Servers {
    child: Child,
    input: Option<ChildStdin>,
    addresses: Addresses,
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

fn part(name: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name);
    Ok(command)
}

fn serve(cpu: usize) -> Result<Servers> {
    let mut child = part("serve")?
        .args(["--cpu", &cpu.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = child.stdout.take().context("the servers' output")?;
    BufReader::new(out).read_line(&mut line)?;
    Ok(Servers {
        input: child.stdin.take(),
        addresses: serde_json::from_str(&line).context("the servers did not begin")?,
        child,
    })
}

fn turn(mode: Mode, cpu: usize, calls: u64, addresses: &Addresses) -> Result<Turn> {
    let servers = match mode.is_grpc() {
        true => &addresses.grpc,
        false => &addresses.http,
    };
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let output = part("turn")?
        .args(["--mode", &mode.name(), "--cpu", &cpu.to_string()])
        .args(["--calls", &calls.to_string()])
        .args(["--servers", &servers.join(",")])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("{} did not end well", mode.title());
    }
    let turn = serde_json::from_slice(&output.stdout);
    turn.with_context(|| format!("{} told nothing", mode.title()))
}

/// Everybody's turns.
pub(crate) fn run(modes: &[Mode], rounds: usize, calls: u64, until: Instant) -> Result<Vec<Shown>> {
    let [client, server] = cpus()?[..] else {
        bail!("two CPUs are needed: one for the servers, one for who calls");
    };
    let servers = serve(server)?;
    let none = |mode: &Mode| Shown {
        mode: *mode,
        passes: [Vec::new(), Vec::new()],
    };
    let mut shown: Vec<Shown> = modes.iter().map(none).collect();
    for round in 1..=rounds {
        if round > FEWEST && Instant::now() > until {
            eprintln!("time is up");
            break;
        }
        eprintln!("round {round} of {rounds}");
        let take = |one: &mut Shown, pass: usize| -> Result<()> {
            let turn = turn(one.mode, client, calls, &servers.addresses)?;
            one.passes[pass].push(turn);
            Ok(())
        };
        shown.iter_mut().try_for_each(|one| take(one, 0))?;
        shown.iter_mut().rev().try_for_each(|one| take(one, 1))?;
    }
    Ok(shown)
}
