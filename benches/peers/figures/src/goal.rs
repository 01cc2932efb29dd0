//! What is wanted, and whether it is so.

use std::fmt;
use std::io::Write;

use serde_json::{Value, json};

/// Whether a goal is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All its figures are within the bound.
    Met,
    /// One is not.
    Missed,
    /// What is measured twice differs too much from itself, or nothing could be measured.
    Open,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Open => "no verdict",
        })
    }
}

/// One goal: the worst of its figures against its bound.
#[derive(Debug)]
pub struct Goal {
    /// What is bounded.
    pub name: String,
    /// What is compared, and the figure of each.
    pub figures: Vec<(String, f64)>,
    /// The bound.
    pub most: f64,
    /// Why there is no verdict whatever the figures are.
    pub doubt: Option<String>,
}

impl Goal {
    fn worst(&self) -> Option<&(String, f64)> {
        self.figures
            .iter()
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.worst() {
            _ if self.doubt.is_some() => Verdict::Open,
            Some((_, worst)) if worst.is_finite() && *worst <= self.most => Verdict::Met,
            Some((_, worst)) if worst.is_finite() => Verdict::Missed,
            _ => Verdict::Open,
        }
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "goal": self.name,
            "most": self.most,
            "figures": self.figures.iter().map(|(of, figure)| json!({ "of": of, "figure": figure })).collect::<Vec<_>>(),
            "verdict": self.verdict().to_string(),
            "doubt": self.doubt,
        })
    }
}

/// The goals, for people.
pub(crate) fn table(goals: &[Goal], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\ngoals")?;
    for goal in goals {
        let (of, figure) = goal.worst().cloned().unwrap_or_default();
        let (name, most, verdict) = (&goal.name, goal.most, goal.verdict());
        write!(
            out,
            "  {verdict:10} {figure:7.3} ≤ {most:<6.3} {name}; worst: {of}"
        )?;
        writeln!(
            out,
            "{}",
            goal.doubt
                .as_ref()
                .map(|why| format!(" ({why})"))
                .unwrap_or_default()
        )?;
    }
    Ok(())
}
