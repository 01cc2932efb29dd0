//! How a comparison tells what it has shown, and ends.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::goal::{self, Goal, Verdict};

/// What a comparison has measured.
pub trait Figures {
    /// All of it, as an object.
    fn json(&self) -> Value;

    /// All of it, for people.
    ///
    /// # Errors
    /// When `out` cannot be written.
    fn table(&self, out: &mut dyn Write) -> std::io::Result<()>;
}

/// Everything of one run.
#[derive(Debug)]
pub struct Report<F> {
    /// The name behind `cargo xtask bench`.
    pub bench: &'static str,
    /// The load of the machine at the start and at the end.
    pub load: [String; 2],
    /// What was wanted.
    pub goals: Vec<Goal>,
    /// What was measured.
    pub figures: F,
}

impl<F: Figures> Report<F> {
    /// Shows it on standard output; tells whether no goal is missed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(&self, as_json: bool) -> Result<bool> {
        let (bench, [begin, end]) = (self.bench, &self.load);
        if as_json {
            let mut shown = self.figures.json();
            shown["bench"] = bench.into();
            shown["command"] = format!("cargo xtask bench {bench} --json").into();
            shown["load"] = json!({ "begin": begin, "end": end });
            shown["goals"] = self.goals.iter().map(Goal::json).collect();
            println!("{shown:#}");
        } else {
            let mut out = std::io::stdout().lock();
            self.figures.table(&mut out)?;
            goal::table(&self.goals, &mut out)?;
            writeln!(
                out,
                "load average {begin} at the start, {end} at the end\nagain: cargo xtask bench {bench}"
            )?;
        }
        let missed = |goal: &Goal| goal.verdict() == Verdict::Missed;
        Ok(!self.goals.iter().any(missed))
    }
}

/// How the process ends: 0 when all is as it should be, 1 when not, 2 with what went wrong.
pub fn exit(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
