//! `cargo xtask fuzz`: every target for a while, two at once, and one table.
//!
//! libFuzzer comes as a crate, and the compiler's own pass counts what an input reaches: a stable
//! toolchain and a C++ compiler are all it takes.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::build::build_with;
use crate::tools;

/// What makes a program tell libFuzzer how far an input got.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Targets that run at once.
const AT_ONCE: usize = 2;
/// Longest input, beside those of the corpus; slowest input; most memory.
const LIMITS: [&str; 3] = ["-max_len=16384", "-timeout=10", "-rss_limit_mb=1024"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Print the names of the targets instead of running them.
    #[arg(long)]
    list: bool,
    /// Which targets; all of them without it.
    targets: Vec<String>,
}

/// What a target did.
#[derive(Debug, Default)]
struct Outcome {
    name: String,
    executions: u64,
    a_second: u64,
    megabytes: u64,
    good: bool,
    /// The inputs that broke a property.
    findings: Vec<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let names = names(&options.targets)?;
    if options.list {
        names.iter().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    let programs = programs(&names)?;
    let queue = Mutex::new(VecDeque::from(programs));
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    let work = || {
        let mut outcomes = Vec::new();
        while let Some((name, program)) = next() {
            outcomes.push(fuzz(&name, &program, options.seconds)?);
        }
        Ok(outcomes)
    };
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        ends.map(|end| end.unwrap_or_else(|_| bail!("a worker died")))
            .collect::<Result<Vec<Vec<Outcome>>>>()
    })?;
    Ok(report(outcomes.into_iter().flatten().collect()))
}

fn folder() -> Result<PathBuf> {
    Ok(tools::root()?.join("fuzz"))
}

/// The targets that are asked for.
fn names(wanted: &[String]) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for entry in fs::read_dir(folder()?.join("targets"))? {
        let path = entry?.path();
        known.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    known.sort();
    if let Some(odd) = wanted.iter().find(|name| !known.contains(name)) {
        bail!(
            "there is no fuzz target {odd:?}; there are {}",
            known.join(", ")
        );
    }
    known.retain(|name| wanted.is_empty() || wanted.contains(name));
    Ok(known)
}

fn programs(names: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = tools::cargo()?;
    cargo
        .current_dir(folder()?)
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Named, so that build scripts are not counted too.
        .args(["build", "--locked", "--target", &host()?]);
    for name in names {
        cargo.args(["--bin", name]);
    }
    let built = build_with(&mut cargo)?;
    let program = |name: &String| {
        let mut all = built.iter();
        let found = all.find(|built| {
            built
                .executable
                .file_stem()
                .is_some_and(|stem| stem == &**name)
        });
        let found = found.with_context(|| format!("{name} was not built"))?;
        Ok((name.clone(), found.executable.clone()))
    };
    names.iter().map(program).collect()
}

/// The machine's own target triple.
fn host() -> Result<String> {
    let answer = Command::new("rustc")
        .arg("-vV")
        .current_dir(tools::root()?)
        .output()?;
    let text = String::from_utf8(answer.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc names no host")?.to_owned())
}

fn fuzz(name: &str, program: &Path, seconds: u32) -> Result<Outcome> {
    let folder = folder()?;
    let made = |path: PathBuf| -> Result<PathBuf> {
        fs::create_dir_all(&path)?;
        Ok(path)
    };
    // What is learnt in a run serves the next, and is not committed.
    let learnt = made(folder.join("target/corpus").join(name))?;
    let findings = made(folder.join("artifacts").join(name))?;
    let before = files(&findings)?;
    let output = Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(LIMITS)
        .args(["-print_final_stats=1", "-verbosity=0"])
        .arg(&learnt)
        .arg(made(folder.join("corpus").join(name))?)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{name} cannot be run"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let mut outcome = read(name, &text);
    outcome.good = output.status.success() && outcome.executions > 0;
    outcome.findings = files(&findings)?
        .into_iter()
        .filter(|file| !before.contains(file))
        .collect();
    if !outcome.good {
        eprintln!("--- {name} ---\n{text}");
    }
    Ok(outcome)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?)
}

/// Reads libFuzzer's final words.
fn read(name: &str, text: &str) -> Outcome {
    let number = |key: &str| {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("stat::")?.strip_prefix(key));
        let mut numbers = lines.filter_map(|rest| rest.trim_start_matches(':').trim().parse().ok());
        numbers.next_back().unwrap_or(0)
    };
    Outcome {
        name: name.to_owned(),
        executions: number("number_of_executed_units"),
        a_second: number("average_exec_per_sec"),
        megabytes: number("peak_rss_mb"),
        ..Outcome::default()
    }
}

/// Prints the table; tells whether nothing was found.
fn report(mut outcomes: Vec<Outcome>) -> bool {
    outcomes.sort_by(|a, b| a.name.cmp(&b.name));
    println!(
        "{:10}  {:>12}  {:>8}  {:>7}  findings",
        "target", "executions", "exec/s", "peak MB"
    );
    for one in &outcomes {
        let verdict = match (one.good, one.findings.len()) {
            (true, count) => count.to_string(),
            (false, 0) => "FAILED without an input".to_owned(),
            (false, count) => format!("FAILED: {count}"),
        };
        println!(
            "{:10}  {:12}  {:8}  {:7}  {verdict}",
            one.name, one.executions, one.a_second, one.megabytes
        );
        for path in &one.findings {
            println!("{:10}  {}", "", path.display());
        }
    }
    outcomes.iter().all(|one| one.good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_words_of_libfuzzer_are_read() {
        let text = "INFO: seed\nDone 12 runs in 1 second(s)\n\
            stat::number_of_executed_units: 1234\nstat::average_exec_per_sec:     617\n\
            stat::new_units_added:          7\nstat::peak_rss_mb:              58\n";
        let outcome = read("x", text);
        assert_eq!(
            (outcome.executions, outcome.a_second, outcome.megabytes),
            (1234, 617, 58)
        );
        assert_eq!(read("x", "panicked").executions, 0);
    }

    #[test]
    fn an_unknown_target_is_told_with_the_known_ones() {
        let fault = names(&["recrod".to_owned()])
            .expect_err("unknown")
            .to_string();
        assert!(
            fault.contains("recrod") && fault.contains("record, "),
            "{fault}"
        );
        assert!(names(&[]).expect("all").len() >= 8);
    }
}
