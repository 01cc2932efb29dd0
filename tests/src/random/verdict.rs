//! What came of a run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::run::Wish;
use super::schedule::Round;
use super::story::Story;
use super::validators::{Breach, VALIDATORS};

/// Most breaches of one law that are told in words; all are counted.
const MOST: usize = 5;

/// How a round healed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Healing {
    /// The round.
    pub round: usize,
    /// How long after its last mishap everybody saw everything again.
    pub seconds: f64,
    /// How long after that nothing differed from a fresh list.
    pub converged: f64,
}

/// What one validator found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The validator.
    pub validator: &'static str,
    /// What must hold.
    pub law: &'static str,
    /// How often it did not.
    pub breaches: usize,
    /// The first of them, with the seconds since the begin.
    pub told: Vec<String>,
}

/// How much there was to judge.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counts {
    /// Mishaps.
    pub mishaps: usize,
    /// Writers' operations, begun ones.
    pub acts: usize,
    /// Events that raw watches were told.
    pub events: usize,
    /// Changes that the server numbered.
    pub numbered: usize,
    /// Reads of the directories.
    pub reads: usize,
    /// Fresh lookups that were answered.
    pub lookups: usize,
    /// The slowest read, in microseconds.
    pub slowest_read: u64,
    /// The middle of the times that fresh lookups took, in microseconds: far more than a few
    /// milliseconds tell of a machine that is too busy for the bounds.
    pub lookup: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The server.
    pub server: String,
    /// What the schedule was drawn from.
    pub seed: u64,
    /// Where the history is.
    pub history: PathBuf,
    /// The schedule as far as it was carried out.
    pub schedule: Vec<String>,
    /// How its rounds healed.
    pub healed: Vec<Healing>,
    /// What stopped the run, if something did.
    pub failure: Option<String>,
    /// What validators found.
    pub findings: Vec<Finding>,
    /// What processes used, before and after: memory in KiB, descriptors.
    pub used: Vec<String>,
    /// How much there was to judge.
    pub counts: Counts,
}

impl Verdict {
    pub(super) fn new(wish: &Wish, history: &Path) -> Self {
        Self {
            server: wish.server.clone(),
            seed: wish.seed,
            history: history.to_owned(),
            schedule: Vec::new(),
            healed: Vec::new(),
            failure: None,
            findings: Vec::new(),
            used: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn begin(&mut self, round: &Round) {
        self.schedule.push(round.to_string());
    }

    pub(super) fn healed(&mut self, healing: Healing) {
        self.healed.push(healing);
    }

    pub(super) fn failed(&mut self, text: String) {
        self.failure = Some(text);
    }

    /// Asks every validator. A run that was stopped has no end that could be judged.
    pub(super) fn judge(&mut self, story: &Story) {
        let stopped = self.failure.is_some();
        let needs_end = |name| ["final", "leaks"].contains(&name);
        let asked = VALIDATORS
            .iter()
            .filter(|one| !(stopped && needs_end(one.name)));
        let begun = story.looks.first().map_or(0, |look| look.asked);
        for validator in asked {
            let found = (validator.check)(story);
            let text = |breach: &Breach| {
                let at = breach.at.saturating_sub(begun) as f64 / 1e6;
                format!("{at:.3} s: {}", breach.text)
            };
            self.findings.push(Finding {
                validator: validator.name,
                law: validator.law,
                breaches: found.len(),
                told: found.iter().take(MOST).map(text).collect(),
            });
        }
        for (name, used) in &story.used {
            self.used
                .push(format!("{name}: {:?} -> {:?}", used.before, used.after));
        }
        self.counts = Counts {
            mishaps: story.mishaps.len(),
            acts: story
                .acts
                .iter()
                .filter(|act| act.outcome.is_none())
                .count(),
            events: story.watches.values().map(Vec::len).sum(),
            numbered: story.epochs.iter().map(|epoch| epoch.changes.len()).sum(),
            reads: story.reads.values().map(|reads| reads.reads).sum(),
            lookups: story.looks.len(),
            lookup: middle(story.looks.iter().map(|look| look.told - look.asked)),
            slowest_read: story
                .reads
                .values()
                .map(|reads| reads.slowest)
                .max()
                .unwrap_or(0),
        };
    }

    /// Whether every law held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failure.is_none() && self.findings.iter().all(|finding| finding.breaches == 0)
    }

    /// The longest and the middle time that a round took to heal.
    #[must_use]
    pub fn healing(&self) -> (f64, f64) {
        let mut all: Vec<f64> = self.healed.iter().map(|one| one.seconds).collect();
        all.sort_by(f64::total_cmp);
        let worst = all.last().copied().unwrap_or(0.0);
        (worst, all.get(all.len() / 2).copied().unwrap_or(0.0))
    }

    /// What there is to say when all is well, in a few lines.
    #[must_use]
    pub fn summary(&self) -> String {
        let Counts {
            mishaps,
            acts,
            events,
            numbered,
            reads,
            lookups,
            slowest_read,
            lookup,
        } = self.counts;
        let (worst, middle) = self.healing();
        let rounds = self.healed.len();
        let mut text = format!(
            "{}, seed {}: {rounds} rounds with {mishaps} mishaps healed in {middle:.2} s (p50), \
             {worst:.2} s (worst)\n{acts} writes, {events} events ({numbered} numbered), {reads} \
             reads (slowest {slowest_read} us), {lookups} lookups (p50 {lookup} us): all laws hold",
            self.server, self.seed
        );
        for used in &self.used {
            let _ = write!(text, "\n{used}");
        }
        text
    }

    /// What went wrong: the seed, the schedule up to there, the findings, the history's file.
    #[must_use]
    pub fn complaint(&self) -> String {
        let Self { server, seed, .. } = self;
        let mut text = format!("random faults on {server}, seed {seed}\n");
        for round in &self.schedule {
            let _ = writeln!(text, "  {round}");
        }
        if let Some(failure) = &self.failure {
            let _ = writeln!(text, "stopped: {failure}");
        }
        for finding in self.findings.iter().filter(|one| one.breaches > 0) {
            let Finding {
                validator,
                law,
                breaches,
                told,
            } = finding;
            let _ = writeln!(text, "{validator} ({law}) is broken {breaches} times:");
            for one in told {
                let _ = writeln!(text, "  {one}");
            }
        }
        let Counts { lookup, .. } = self.counts;
        let _ = writeln!(text, "fresh lookups took {lookup} us (p50)");
        let _ = write!(text, "history: {}", self.history.display());
        text
    }
}

fn middle(all: impl Iterator<Item = u64>) -> u64 {
    let mut all: Vec<u64> = all.collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}
