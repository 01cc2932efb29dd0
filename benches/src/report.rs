//! What was measured, against its goal: as a table and as JSON.

use std::fmt;
use std::io::Write;

use serde_json::{Value, json};

use crate::clock;
use crate::series::Series;

/// Above this spread of the peer against itself, a comparison says nothing.
const MOST_SPREAD: f64 = 0.15;

/// What is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    /// Ours divided by the peer is at least this.
    Least(f64),
    /// Ours divided by the peer is at most this.
    Most(f64),
    /// Ours, as it is, is at most this.
    Bound(f64),
    /// Something is so, or it is not.
    Fact(&'static str, bool),
    /// A figure to know.
    Known,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Least(ratio) => write!(f, "≥ {ratio} x peer"),
            Self::Most(ratio) => write!(f, "≤ {ratio} x peer"),
            Self::Bound(value) => write!(f, "≤ {value}"),
            Self::Fact(text, _) => f.write_str(text),
            Self::Known => f.write_str("-"),
        }
    }
}

/// Whether a goal is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// It cannot be told, and why.
    Open(String),
    /// Nothing was wanted.
    Shown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met => f.write_str("met"),
            Self::Missed => f.write_str("MISSED"),
            Self::Open(why) => write!(f, "no verdict: {why}"),
            Self::Shown => f.write_str("-"),
        }
    }
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Series,
    pub(crate) peer: Option<Series>,
    /// Microseconds of CPU an operation.
    pub(crate) ours_cpu: Option<Series>,
    pub(crate) peer_cpu: Option<Series>,
    pub(crate) goal: Goal,
    /// Why there can be no verdict whatever the figures are.
    pub(crate) doubt: Option<String>,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, ours: Series) -> Self {
        Self {
            name: name.into(),
            unit,
            ours,
            peer: None,
            ours_cpu: None,
            peer_cpu: None,
            goal: Goal::Known,
            doubt: None,
            note: String::new(),
        }
    }

    pub(crate) fn against(mut self, peer: Series) -> Self {
        self.peer = Some(peer);
        self
    }

    pub(crate) fn cpu(mut self, ours: Series, peer: Option<Series>) -> Self {
        (self.ours_cpu, self.peer_cpu) = (Some(ours), peer);
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = goal;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn ratio(&self) -> Option<f64> {
        let peer = self.peer.as_ref()?;
        Some(self.ours.median() / peer.median())
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if let Some(doubt) = &self.doubt {
            return Verdict::Open(doubt.clone());
        }
        let judge = |good: bool| if good { Verdict::Met } else { Verdict::Missed };
        let compare = |good: &dyn Fn(f64) -> bool| match (&self.peer, self.ratio()) {
            (Some(peer), _) if peer.spread() > MOST_SPREAD => {
                Verdict::Open("the peer's own spread is over 15 %".to_owned())
            }
            (_, Some(ratio)) => judge(good(ratio)),
            _ => Verdict::Open("there is no peer".to_owned()),
        };
        match self.goal {
            Goal::Least(least) => compare(&|ratio| ratio >= least),
            Goal::Most(most) => compare(&|ratio| ratio <= most),
            Goal::Bound(bound) => judge(self.ours.median() <= bound),
            Goal::Fact(_, holds) => judge(holds),
            Goal::Known => Verdict::Shown,
        }
    }

    fn json(&self) -> Value {
        let series = |series: &Option<Series>| series.as_ref().map(Series::json);
        json!({
            "name": self.name,
            "unit": self.unit,
            "peer": series(&self.peer),
            "ours": self.ours.json(),
            "ratio": self.ratio(),
            "cpu_us_per_op": { "peer": series(&self.peer_cpu), "ours": series(&self.ours_cpu) },
            "goal": self.goal.to_string(),
            "verdict": self.verdict().to_string(),
            "note": self.note,
        })
    }

    /// The cells of the table.
    fn cells(&self) -> [String; 8] {
        let range = |series: &Series| match series.spread() {
            0.0 => number(series.median()),
            _ => {
                let (least, most) = (number(series.min()), number(series.max()));
                format!("{} [{least}..{most}]", number(series.median()))
            }
        };
        let peer = |series: &Series| format!("{} ±{:.0}%", range(series), series.spread() * 100.0);
        let cpu = |series: &Option<Series>| series.as_ref().map(Series::median).map(number);
        let cpu = match (cpu(&self.peer_cpu), cpu(&self.ours_cpu)) {
            (None, None) => "-".to_owned(),
            (a, b) => format!("{} / {}", a.unwrap_or("-".into()), b.unwrap_or("-".into())),
        };
        [
            self.name.clone(),
            self.unit.to_owned(),
            self.peer.as_ref().map_or("-".to_owned(), peer),
            range(&self.ours),
            self.ratio()
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            self.goal.to_string(),
            self.verdict().to_string(),
            cpu,
        ]
    }
}

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct Report {
    bench: &'static str,
    command: String,
    begun: [f64; 3],
    rows: Vec<Row>,
}

impl Report {
    /// Begins now; `command` is what repeats the run.
    pub(crate) fn begin(bench: &'static str, command: String) -> Self {
        Self {
            bench,
            command,
            begun: clock::load(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        for row in &rows {
            let cells = row.cells();
            eprintln!("  {}", cells.join(" | "));
        }
        self.rows.extend(rows);
    }

    /// Whether no goal was missed.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.verdict() != Verdict::Missed)
    }

    /// The one JSON object of a run.
    pub(crate) fn json(&self) -> Value {
        json!({
            "bench": self.bench,
            "command": self.command,
            "cpus": cpus(),
            "load": { "begin": self.begun, "end": clock::load() },
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }

    /// The table, for people.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(crate) fn table(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let head = [
            "measurement",
            "unit",
            "peer median [min..max] ±spread",
            "ours median [min..max]",
            "ours/peer",
            "goal",
            "verdict",
            "CPU µs/op peer / ours",
        ];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        writeln!(out)?;
        for line in &lines {
            for (cell, width) in line.iter().zip(&widths) {
                write!(out, "| {cell:width$} ")?;
            }
            writeln!(out, "|")?;
        }
        for row in self.rows.iter().filter(|row| !row.note.is_empty()) {
            writeln!(out, "  {}: {}", row.name, row.note)?;
        }
        let load = |load: [f64; 3]| load.map(|value| format!("{value:.2}")).join(" ");
        let (begin, end) = (load(self.begun), load(clock::load()));
        writeln!(
            out,
            "load average {begin} at the start, {end} at the end, {} CPUs",
            cpus()
        )?;
        writeln!(out, "again: {}", self.command)
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: Vec<f64>, ours: f64, goal: Goal) -> Row {
        Row::new("r", "1/s", Series::one(ours))
            .against(Series::new(peer))
            .goal(goal)
    }

    #[test]
    fn a_peer_that_differs_from_itself_gives_no_verdict() {
        let steady = vec![100.0, 101.0, 105.0];
        let noisy = vec![90.0, 100.0, 110.0];
        assert_eq!(
            row(steady.clone(), 90.0, Goal::Least(0.8)).verdict(),
            Verdict::Met
        );
        assert_eq!(
            row(steady.clone(), 70.0, Goal::Least(0.8)).verdict(),
            Verdict::Missed
        );
        assert_eq!(
            row(steady, 130.0, Goal::Most(1.2)).verdict(),
            Verdict::Missed
        );
        let open = row(noisy.clone(), 70.0, Goal::Least(0.8)).verdict();
        assert!(matches!(open, Verdict::Open(_)));
        assert_eq!(row(noisy, 70.0, Goal::Bound(70.0)).verdict(), Verdict::Met);
    }
}
