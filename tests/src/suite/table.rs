//! The table of what was measured.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::bounds::Bound;

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every repetition kept the bound and the laws.
    Held,
    /// One did not.
    Broken,
}

/// One fault's row.
#[derive(Debug, Clone)]
pub struct Row {
    /// The fault.
    pub name: &'static str,
    /// What it may reach.
    pub bound: Bound,
    /// What each repetition reached.
    pub measured: Vec<f64>,
    /// The longest time that the observing process stood still.
    pub stall: Duration,
    /// What was wrong, with a timeline of the first wrong repetition.
    pub failure: Option<String>,
}

impl Row {
    pub(super) fn new(name: &'static str, bound: Bound) -> Self {
        Self {
            name,
            bound,
            measured: Vec::new(),
            stall: Duration::ZERO,
            failure: None,
        }
    }

    /// The first failure is told with its timeline, later ones in a line.
    pub(super) fn fail(&mut self, law: &str, text: &str, timeline: &str) {
        match &mut self.failure {
            None => self.failure = Some(format!("{law}\n  {text}\n{timeline}")),
            Some(failure) => failure.push_str(&format!("  {text}\n")),
        }
    }

    /// What came of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.failure {
            None => Verdict::Held,
            Some(_) => Verdict::Broken,
        }
    }

    /// The middle of what was measured (the upper one of two).
    #[must_use]
    pub fn p50(&self) -> Option<f64> {
        let mut sorted = self.measured.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// The worst that was measured.
    #[must_use]
    pub fn worst(&self) -> Option<f64> {
        self.measured.iter().copied().max_by(f64::total_cmp)
    }
}

/// All rows, in the order of the faults.
#[derive(Debug)]
pub struct Table {
    backend: &'static str,
    order: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Written<'a> {
    backend: &'a str,
    faults: Vec<WrittenRow<'a>>,
}

#[derive(Serialize)]
struct WrittenRow<'a> {
    fault: &'a str,
    formula: &'a str,
    bound: f64,
    unit: &'a str,
    measured: &'a [f64],
    p50: Option<f64>,
    worst: Option<f64>,
    stall_seconds: f64,
    verdict: Verdict,
}

impl Table {
    pub(super) fn new(backend: &'static str, order: impl Iterator<Item = &'static str>) -> Self {
        Self {
            backend,
            order: order.collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
        let place = |row: &Row| self.order.iter().position(|name| *name == row.name);
        self.rows.sort_by_key(place);
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints it, every line beginning with `| `.
    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0);
        let formula = |row: &Row| format!("{}", row.bound);
        let wide = self
            .rows
            .iter()
            .map(|row| formula(row).len())
            .max()
            .unwrap_or(0);
        let name = format!("fault ({})", self.backend);
        line("");
        line(&format!(
            "| {name:width$} | {:wide$} | {:>7} | {:>7} | {:>6} | verdict |",
            "bound", "p50", "worst", "stall"
        ));
        line(&format!(
            "| {:-<width$} | {:-<wide$} | {:->7} | {:->7} | {:->6} | ------- |",
            "", "", "", "", ""
        ));
        for row in &self.rows {
            let shown = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            let verdict = match row.verdict() {
                Verdict::Held => "held",
                Verdict::Broken => "BROKEN",
            };
            line(&format!(
                "| {:width$} | {:wide$} | {:>7} | {:>7} | {:>6.2} | {verdict:7} |",
                row.name,
                formula(row),
                shown(row.p50()),
                shown(row.worst()),
                row.stall.as_secs_f64(),
            ));
        }
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut faults = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            faults.push(WrittenRow {
                fault: row.name,
                formula: row.bound.formula,
                bound: row.bound.limit,
                unit: row.bound.unit,
                measured: &row.measured,
                p50: row.p50(),
                worst: row.worst(),
                stall_seconds: row.stall.as_secs_f64(),
                verdict: row.verdict(),
            });
        }
        let written = Written {
            backend: self.backend,
            faults,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_vec_pretty(&written)?)?;
        Ok(())
    }
}

pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
