//! `cargo xtask test`: everything, with its servers, and one table.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{Built, build};
use crate::report::{Report, Verdict, verdict};
use crate::tools;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Also run the fault table on real servers (about a quarter of an hour more).
    #[arg(long)]
    faults: bool,
    /// Also run the long ones.
    #[arg(long)]
    full: bool,
    /// Print the names of the cases instead of running them.
    #[arg(long)]
    list: bool,
    /// Run only test programs whose name contains this (`plugins/etcd`, `tests/faults`).
    #[arg(long)]
    only: Option<String>,
    /// Run only cases whose name contains this.
    filter: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    tools::images(&["etcd", "consul", "zookeeper", "dns"])?;
    step("images", begun);
    let built = build(&["test", "--workspace", "--all-features", "--no-run"])?;
    step("build", begun);
    let wanted = |built: &&Built| {
        let only = options.only.as_deref();
        built.is_test && only.is_none_or(|part| built.name.contains(part))
    };
    let programs: Vec<&Built> = built.iter().filter(wanted).collect();
    if options.list {
        return list(&programs, options);
    }
    let servers = Servers::start(&built)?;
    step("servers", begun);
    let mut report = Report::default();
    for program in programs {
        run_program(program, options, &servers, &mut report)?;
    }
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
    if options.faults || options.full {
        command.env("WAYPOST_FAULTS", "1");
    }
    if options.full {
        command.env("WAYPOST_FULL", "1");
    }
    command.args(options.filter.as_deref());
    command
}

fn run_program(
    program: &Built,
    options: &Options,
    servers: &Servers,
    report: &mut Report,
) -> Result<()> {
    let mut command = command(program, options);
    command.envs(servers.addresses.iter().cloned());
    run_and_read(&program.name, command, report)
}

fn run_doctests(options: &Options, report: &mut Report) -> Result<()> {
    let mut command = tools::cargo()?;
    command
        .args(["test", "--workspace", "--all-features", "--doc", "--quiet"])
        .args(["--", "--format=pretty"])
        .args(options.filter.as_deref());
    run_and_read("doc tests", command, report)
}

/// Runs a test program, shows its failures and reads its verdicts.
fn run_and_read(name: &str, mut command: Command, report: &mut Report) -> Result<()> {
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    let output = child.stdout.take().context("a child has an output")?;
    let mut cases = Vec::new();
    let mut lines = Vec::new();
    let mut shown = false;
    for line in BufReader::new(output).lines() {
        let line = line?;
        // What is not a verdict is worth seeing when something fails, or when it is a table.
        if let Some(case) = verdict(&line) {
            if case.1 == Verdict::Failed {
                eprintln!("{name}: {line}");
            }
            cases.push(case);
        } else if line.starts_with("| ") {
            println!("{line}");
            shown = true;
        } else {
            lines.push(line);
        }
    }
    let status = child.wait()?;
    let seconds = begun.elapsed().as_secs_f64();
    let failed = cases.iter().any(|(_, verdict)| *verdict == Verdict::Failed);
    if !status.success() {
        println!("\n--- {name} ---\n{}", lines.join("\n"));
    }
    if shown || seconds > 5.0 {
        eprintln!("{name}: {} cases in {seconds:.1} s", cases.len());
    }
    report.add(name, cases, seconds);
    if !status.success() && !failed {
        report.add_crash(name, &format!("ended with {status}"));
    }
    Ok(())
}

/// One server a backend, for all the tests of a run; ended when this is dropped.
struct Servers {
    child: Option<(Child, ChildStdin)>,
    addresses: Vec<(String, String)>,
}

impl Servers {
    fn start(built: &[Built]) -> Result<Self> {
        let none = Self {
            child: None,
            addresses: Vec::new(),
        };
        if let Some(fault) = tools::docker_fault() {
            eprintln!("no containers: {fault}");
            return Ok(none);
        }
        let is_servers = |built: &&Built| !built.is_test && built.name.ends_with("/servers");
        let program = match built.iter().find(is_servers) {
            Some(program) => program.clone(),
            None => {
                let arguments = [
                    "build",
                    "--package=waypost-testkit",
                    "--bin=servers",
                    "--all-features",
                ];
                let built = build(&arguments)?;
                let found = built.into_iter().find(|built| is_servers(&built));
                found.context("the servers program was not built")?
            }
        };
        let mut child = Command::new(&program.executable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("a child has an input")?;
        let output = child.stdout.take().context("a child has an output")?;
        let mut addresses = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line == "ready" {
                return Ok(Self {
                    child: Some((child, input)),
                    addresses,
                });
            }
            if let Some((key, value)) = line.split_once('=') {
                addresses.push((key.to_owned(), value.to_owned()));
            }
        }
        bail!("the test servers did not start: {}", child.wait()?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some((mut child, input)) = self.child.take() {
            drop(input);
            let _ = child.wait();
        }
    }
}
