//! `cargo xtask faults`: random faults on real servers, for as long as asked.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::build::build;
use crate::tools;

/// The servers that there are runs for, in their order.
const SERVERS: &[&str] = &["etcd", "consul", "zookeeper"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only on this server; else on one after the other.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(SERVERS))]
    server: Option<String>,
    /// What the schedule is drawn from: the same seed gives the same schedule. Else a fresh one.
    #[arg(long)]
    seed: Option<u64>,
    /// For how long faults come, on each server.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Print a verdict a server, as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let only = options.server.as_deref();
    let servers = SERVERS
        .iter()
        .filter(|one| only.is_none_or(|only| only == **one));
    let servers: Vec<&str> = servers.copied().collect();
    if let Some(fault) = tools::docker_fault() {
        anyhow::bail!("random faults need real servers, in containers: {fault}");
    }
    tools::images(&servers)?;
    let arguments = [
        "test",
        "--package=waypost-tests",
        "--test=random",
        "--no-run",
    ];
    let built = build(&arguments)?;
    let program = built.iter().find(|built| built.name == "tests/random");
    let program = program.context("the program was not built")?;
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    let lasts = minutes(options.minutes)?;
    let mut good = true;
    for server in servers {
        let wish = json!({
            "server": server,
            "seed": seed,
            "lasts": lasts,
            "json": options.json,
        });
        let status = std::process::Command::new(&program.executable)
            .current_dir(&program.folder)
            .env("WAYPOST_RANDOM", wish.to_string())
            .status()?;
        good &= status.success();
    }
    Ok(good)
}

/// One that is easily typed.
fn fresh_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(u64::from(now.subsec_nanos() ^ (now.as_secs() as u32)))
}

fn minutes(minutes: f64) -> Result<Duration> {
    let lasts = Duration::try_from_secs_f64(minutes * 60.0);
    let lasts = lasts.with_context(|| format!("{minutes} minutes are no time"))?;
    ensure!(!lasts.is_zero(), "0 minutes are no time");
    Ok(lasts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_a_time_unless_they_are_not() {
        assert_eq!(minutes(0.5).expect("a time"), Duration::from_secs(30));
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(minutes(none).is_err(), "{none}");
        }
    }
}
