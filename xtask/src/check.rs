//! `cargo xtask check`: format, lints, each feature alone, docs. Every step prints its time.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::tools;

/// The features of the facade and of the command that are the drivers'.
const DRIVERS: &[&str] = &[
    "memory",
    "file",
    "static",
    "dns",
    "etcd",
    "consul",
    "zookeeper",
];
/// The other ones of the facade.
const FEATURES: &[&str] = &[
    "flags",
    "server",
    "server,tonic",
    "prometheus",
    "client",
    "client,tonic",
    "client,flags",
    "tls",
    "prost",
    "tower",
    "reqwest",
    "axum",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out checking each feature alone.
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    good &= step("format", tools::cargo()?.args(["fmt", "--all", "--check"]))?;
    good &= step(
        "clippy",
        tools::cargo()?
            .args(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--quiet", "--", "-D", "warnings"]),
    )?;
    good &= step(
        "docs",
        tools::cargo()?
            .args([
                "doc",
                "--workspace",
                "--all-features",
                "--no-deps",
                "--quiet",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    if !options.quick {
        good &= features()?;
    }
    Ok(good)
}

fn features() -> Result<bool> {
    let mut good = step("no feature", &mut check("waypost", "")?)?;
    for feature in DRIVERS.iter().chain(FEATURES) {
        let name = format!("feature {feature}");
        good &= step(&name, &mut check("waypost", feature)?)?;
    }
    for feature in DRIVERS {
        let name = format!("command, feature {feature}");
        good &= step(&name, &mut check("waypost-cli", feature)?)?;
    }
    Ok(good)
}

fn check(package: &str, feature: &str) -> Result<Command> {
    let mut cargo = tools::cargo()?;
    cargo
        .args(["clippy", "--quiet", "--no-default-features"])
        .args(["--package", package, "--features", feature])
        .args(["--", "-D", "warnings"]);
    Ok(cargo)
}

fn step(name: &str, command: &mut Command) -> Result<bool> {
    let begun = Instant::now();
    let good = command.status()?.success();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} {name} ({seconds:.1} s)",
        if good { "ok  " } else { "FAIL" }
    );
    Ok(good)
}
