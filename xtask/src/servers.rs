//! The servers that the tests of one run share.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{Built, build};
use crate::tools;

/// One server a backend, for all the tests of a run; ended when this is dropped.
pub(crate) struct Servers {
    child: Option<(Child, ChildStdin)>,
    /// Environment variables that tell the tests where they are.
    pub(crate) addresses: Vec<(String, String)>,
}

impl Servers {
    pub(crate) fn start(built: &[Built]) -> Result<Self> {
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
