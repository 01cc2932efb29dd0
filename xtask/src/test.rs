//! `cargo xtask test`: everything, with its servers, and one table.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{Built, build};
use crate::report::{Report, Verdict, verdict};
use crate::servers::Servers;
use crate::tools;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run all faults, each five times: the tables of every server, clusters of three, and random
    /// ones for a while (about half an hour more). Without it a part of the tables is run, once.
    #[arg(long)]
    faults: bool,
    /// How often the tables of the servers after the first (etcd) repeat each fault.
    #[arg(long, requires = "faults")]
    further: Option<u32>,
    /// All faults, in their full size: ten thousand leases, crowds of ten thousand.
    #[arg(long)]
    full: bool,
    /// Try a case that failed again, alone, so often. One that passes then is listed as flaky.
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// Print the names of the cases instead of running them.
    #[arg(long)]
    list: bool,
    /// Run only the test programs of this name (`tests/faults`) or below it (`plugins/etcd`), or, where
    /// there are none, those whose name contains it.
    #[arg(long)]
    only: Option<String>,
    /// Run only cases whose name contains this.
    filter: Option<String>,
}

/// Programs that mostly wait for a server's clock.
const WAITING: &[&str] = &[
    "tests/faults",
    "tests/clusters",
    "tests/random",
    "tests/calls",
];
/// So many of them run at once.
const WAITING_AT_ONCE: usize = 3;
/// The fault table of the first server.
const FIRST: &str = "tests/faults";

impl Options {
    /// Which faults are wanted, as the programs are told.
    fn faults(&self) -> &'static str {
        if self.faults || self.full {
            "all"
        } else {
            "few"
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let mut images = vec!["etcd", "consul", "zookeeper", "dns"];
    if options.full {
        images.extend(["etcd-3.4", "etcd-3.3", "zookeeper-3.8", "zookeeper-3.4"]);
    } else if options.faults() == "all" {
        images.push("zookeeper-3.4");
    }
    tools::images(&images)?;
    step("images", begun);
    let built = build(&["test", "--workspace", "--all-features", "--no-run"])?;
    step("build", begun);
    let only = options.only.as_deref();
    let is_a_name = only.is_some_and(|only| built.iter().any(|built| built.name == only));
    let wanted = |built: &&Built| {
        let is_meant = |only: &str| match built.name.strip_prefix(only) {
            Some(rest) if is_a_name => rest.is_empty() || rest.starts_with('/'),
            _ => !is_a_name && built.name.contains(only),
        };
        built.is_test && only.is_none_or(is_meant)
    };
    let programs: Vec<&Built> = built.iter().filter(wanted).collect();
    if options.list {
        return list(&programs, options);
    }
    let servers = Servers::start(&built)?;
    step("servers", begun);
    let mut report = Report::default();
    run_programs(&programs, options, &servers, &mut report)?;
    if options.only.is_none() {
        run_doctests(options, &mut report)?;
    }
    drop(servers);
    step("tests", begun);
    Ok(report.print())
}

fn step(name: &str, begun: Instant) {
    eprintln!("[{:6.1} s] {name}", begun.elapsed().as_secs_f64());
}

fn list(programs: &[&Built], options: &Options) -> Result<bool> {
    for program in programs {
        let output = command(program, options).arg("--list").output()?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(name) = line.strip_suffix(": test") {
                println!("{}: {name}", program.name);
            }
        }
    }
    Ok(true)
}

fn command(program: &Built, options: &Options) -> Command {
    let mut command = Command::new(&program.executable);
    command
        .current_dir(&program.folder)
        .env("CARGO_MANIFEST_DIR", &program.folder)
        .stdin(Stdio::null());
    command.env("WAYPOST_FAULTS", options.faults());
    if options.full {
        command.env("WAYPOST_FULL", "1");
    }
    let is_further = program.name.starts_with(FIRST) && program.name != FIRST;
    if let Some(times) = options.further.filter(|_| is_further) {
        command.env("WAYPOST_FAULT_REPEAT", times.to_string());
    }
    command.args(options.filter.as_deref());
    command
}

/// Runs one program after the other; those of the fault tables, which mostly wait, three at once.
fn run_programs(
    programs: &[&Built],
    options: &Options,
    servers: &Servers,
    report: &mut Report,
) -> Result<()> {
    let waits = |built: &&&Built| WAITING.iter().any(|part| built.name.starts_with(part));
    let (waiting, busy): (Vec<&Built>, Vec<&Built>) = programs.iter().partition(waits);
    for program in busy {
        run_program(program, options, servers)?.tell(&program.name, report);
    }
    // The tables first: they take longest.
    let (tables, others): (Vec<&Built>, Vec<&Built>) = waiting
        .into_iter()
        .partition(|built| built.name.starts_with(FIRST));
    let queue = Mutex::new(tables.into_iter().chain(others));
    let done = Mutex::new(report);
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(program) = next else {
                return Ok(());
            };
            let outcome = run_program(program, options, servers)?;
            let mut report = done.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.tell(&program.name, &mut report);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WAITING_AT_ONCE).map(|_| scope.spawn(work)).collect();
        let mut ends = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ends.try_for_each(|end| end.unwrap_or_else(|_| bail!("a worker died")))
    })
}

fn run_program(program: &Built, options: &Options, servers: &Servers) -> Result<Outcome> {
    let run = |more: &[&str]| {
        let mut command = command(program, options);
        command.envs(servers.addresses.iter().cloned()).args(more);
        run_and_read(&program.name, command)
    };
    let mut outcome = run(&[])?;
    for _ in 0..options.retries {
        for name in outcome.failed() {
            eprintln!("{}: {name} is tried again, alone", program.name);
            let again = run(&["--exact", &name])?;
            if again.cases.contains(&(name.clone(), Verdict::Passed)) {
                outcome.passed_again(&name);
            }
        }
    }
    Ok(outcome)
}

fn run_doctests(options: &Options, report: &mut Report) -> Result<()> {
    let mut command = tools::cargo()?;
    command
        .args(["test", "--workspace", "--all-features", "--doc", "--quiet"])
        .args(["--", "--format=pretty"])
        .args(options.filter.as_deref());
    run_and_read("doc tests", command)?.tell("doc tests", report);
    Ok(())
}

/// What came of a test program.
struct Outcome {
    cases: Vec<(String, Verdict)>,
    /// Rows of tables that it printed.
    rows: Vec<String>,
    status: ExitStatus,
    seconds: f64,
}

impl Outcome {
    fn failed(&self) -> Vec<String> {
        let failed = self
            .cases
            .iter()
            .filter(|(_, verdict)| *verdict == Verdict::Failed);
        failed.map(|(name, _)| name.clone()).collect()
    }

    fn passed_again(&mut self, name: &str) {
        let of_name = |case: &&mut (String, Verdict)| case.0 == name;
        if let Some((_, verdict)) = self.cases.iter_mut().find(of_name) {
            *verdict = Verdict::Flaky;
        }
    }

    fn tell(self, name: &str, report: &mut Report) {
        for row in &self.rows {
            println!("{row}");
        }
        if !self.rows.is_empty() || self.seconds > 5.0 {
            eprintln!(
                "{name}: {} cases in {:.1} s",
                self.cases.len(),
                self.seconds
            );
        }
        let told = self
            .cases
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Failed | Verdict::Flaky));
        report.add(name, self.cases, self.seconds);
        if !self.status.success() && !told {
            report.add_crash(name, &format!("ended with {}", self.status));
        }
    }
}

/// Runs a test program, shows its failures and reads its verdicts.
fn run_and_read(name: &str, mut command: Command) -> Result<Outcome> {
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    let output = child.stdout.take().context("a child has an output")?;
    let (mut cases, mut rows, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for line in BufReader::new(output).lines() {
        let line = line?;
        // What is not a verdict is worth seeing when something fails, or when it is a table.
        if let Some(case) = verdict(&line) {
            if case.1 == Verdict::Failed {
                eprintln!("{name}: {line}");
            }
            cases.push(case);
        } else if line.starts_with("| ") {
            rows.push(line);
        } else {
            lines.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        println!("\n--- {name} ---\n{}", lines.join("\n"));
    }
    Ok(Outcome {
        cases,
        rows,
        status,
        seconds: begun.elapsed().as_secs_f64(),
    })
}
