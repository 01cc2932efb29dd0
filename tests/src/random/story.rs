//! The history, sorted by who tells it.

use std::collections::BTreeMap;

use crate::agent::Act;
use crate::house::SERVICE;

use super::mishap::Mishap;
use super::record::{Entry, Stamps, Told, What};

/// What a raw watch heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It was being opened.
    Opening,
    /// Everything there is.
    Snapshot(Vec<Told>),
    /// Changes.
    Changed(Vec<Told>),
    /// Its end.
    Ended,
}

/// One answered fresh lookup.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When it was asked.
    pub asked: u64,
    /// When it was answered.
    pub told: u64,
    /// The answer.
    pub set: Stamps,
    /// Whether a node was listed twice.
    pub doubled: bool,
}

/// One mishap as it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// Its round.
    pub round: usize,
    /// Its place in the round.
    pub place: usize,
    /// What it was.
    pub mishap: Mishap,
    /// When it began.
    pub begun: u64,
    /// When it was over, if it was.
    pub over: Option<u64>,
    /// When everything had healed, if it had.
    pub healed: Option<u64>,
}

/// What a directory showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// When.
    pub at: u64,
    /// What was live.
    pub set: Stamps,
    /// How many there were to be called.
    pub callable: usize,
}

/// What the reads of a directory came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reads {
    /// How many there were.
    pub reads: usize,
    /// How many found nobody to call.
    pub empty: usize,
    /// The slowest, in microseconds.
    pub slowest: u64,
}

/// What a server numbered between two moments at which it forgot everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Epoch {
    /// The number at which it begins.
    pub first: i64,
    /// When a change was told, its number, and what it was.
    pub changes: Vec<(u64, i64, Told)>,
}

/// What a process used at the begin and at the end: memory in KiB, descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// When it had warmed up.
    pub before: Option<(u64, usize)>,
    /// When the run was over.
    pub after: Option<(u64, usize)>,
}

/// An observer's knowledge from one change of it to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// From when.
    pub from: u64,
    /// Until when.
    pub to: u64,
    /// What it was.
    pub set: Stamps,
}

/// The whole history.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The ttl of the records.
    pub ttl: u64,
    /// How much later than the ttl the server may remove a record.
    pub slack: u64,
    /// Whether a server that is restarted with its data takes no record away.
    pub keeps: bool,
    /// What went wrong, in the order of its begin.
    pub mishaps: Vec<Happened>,
    /// Fresh lookups.
    pub looks: Vec<Look>,
    /// When fresh lookups failed.
    pub failed_looks: Vec<u64>,
    /// Raw watches.
    pub watches: BTreeMap<String, Vec<(u64, Heard)>>,
    /// Directories.
    pub directories: BTreeMap<String, Vec<Shown>>,
    /// Reads of the directories.
    pub reads: BTreeMap<String, Reads>,
    /// What writers did.
    pub acts: Vec<Act>,
    /// Changes as the server numbers them, anew each time it forgot everything.
    pub epochs: Vec<Epoch>,
    /// What was there when nobody wrote any more, and when that was read.
    pub last: Option<(u64, Stamps)>,
    /// What processes use.
    pub used: BTreeMap<String, Used>,
    /// When the last entry was made.
    pub ended: u64,
}

impl Story {
    /// Sorts a history that is in the order of its times.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut story = Self::default();
        for Entry { at, who, what } in entries {
            story.ended = story.ended.max(at);
            story.add(at, who, what);
        }
        story
    }

    fn add(&mut self, at: u64, who: String, what: What) {
        match what {
            What::Began {
                ttl, slack, keeps, ..
            } => (self.ttl, self.slack, self.keeps) = (ttl, slack, keeps),
            What::Mishap {
                round,
                place,
                mishap,
            } => self.mishaps.push(Happened {
                round,
                place,
                mishap,
                begun: at,
                over: None,
                healed: None,
            }),
            What::Over { round, place } => {
                let is_it = |one: &&mut Happened| one.round == round && one.place == place;
                if let Some(one) = self.mishaps.iter_mut().find(is_it) {
                    one.over = Some(at);
                }
            }
            What::Healed { round } => {
                let mut of_round = self.mishaps.iter_mut();
                while let Some(one) = of_round.find(|one| one.round == round) {
                    one.healed = Some(at);
                }
            }
            What::Act(act) => self.acts.push(act),
            What::Started { .. } => {}
            What::Numbered { revision, change } => {
                if self.epochs.is_empty() {
                    self.epochs.push(Epoch::default());
                }
                if let Some(epoch) = self.epochs.last_mut() {
                    epoch.changes.push((at, revision, change));
                }
            }
            What::Renumbered { revision, .. } => self.epochs.push(Epoch {
                first: revision,
                changes: Vec::new(),
            }),
            What::Final { set } => self.last = Some((at, set)),
            seen => self.see(at, who, seen),
        }
    }

    fn see(&mut self, at: u64, who: String, what: What) {
        let mut hear = |who, heard| {
            let heard_so_far: &mut Vec<_> = self.watches.entry(who).or_default();
            heard_so_far.push((at, heard));
        };
        match what {
            What::Opening => hear(who, Heard::Opening),
            What::Snapshot { all } => hear(who, Heard::Snapshot(all)),
            What::Changed { changes } => hear(who, Heard::Changed(changes)),
            What::Ended { .. } => hear(who, Heard::Ended),
            What::Shows { set, fallback, .. } => {
                let callable = set.len() + fallback;
                let shown = self.directories.entry(who).or_default();
                shown.push(Shown { at, set, callable });
            }
            What::Reads {
                reads,
                empty,
                slowest,
            } => {
                let sum = self.reads.entry(who).or_default();
                sum.reads += reads;
                sum.empty += empty;
                sum.slowest = sum.slowest.max(slowest);
            }
            What::Looked {
                asked,
                set,
                doubled,
            } => self.looks.push(Look {
                asked,
                told: at,
                set,
                doubled,
            }),
            What::LookFailed { .. } => self.failed_looks.push(at),
            What::Usage {
                ended,
                memory,
                descriptors,
            } => {
                let used = self.used.entry(who).or_default();
                let now = Some((memory, descriptors));
                *(if ended {
                    &mut used.after
                } else {
                    &mut used.before
                }) = now;
            }
            _ => {}
        }
    }

    /// Everybody whose knowledge comes of a watch, with what it was and when: raw watches first.
    #[must_use]
    pub fn sights(&self) -> BTreeMap<&str, Vec<Sight>> {
        let watches = self.watches.iter().map(|(name, heard)| {
            let mut known = Stamps::new();
            let mut states = Vec::new();
            for (at, heard) in heard {
                if apply(&mut known, heard) {
                    states.push((*at, known.clone()));
                }
            }
            (name.as_str(), self.lasting(states))
        });
        let directories = self.directories.iter().map(|(name, shown)| {
            let states = shown.iter().map(|shown| (shown.at, shown.set.clone()));
            (name.as_str(), self.lasting(states.collect()))
        });
        watches.chain(directories).collect()
    }

    fn lasting(&self, states: Vec<(u64, Stamps)>) -> Vec<Sight> {
        let ends: Vec<u64> = states.iter().skip(1).map(|(at, _)| *at).collect();
        let ends = ends.into_iter().chain([self.ended]);
        let sight = |((from, set), to)| Sight { from, to, set };
        states.into_iter().zip(ends).map(sight).collect()
    }
}

/// Applies what was heard to what is known of the house's service; tells whether it may have
/// changed anything.
pub(super) fn apply(known: &mut Stamps, heard: &Heard) -> bool {
    let ours = |told: &&Told| told.service == SERVICE;
    match heard {
        Heard::Opening | Heard::Ended => return false,
        Heard::Snapshot(all) => {
            let stamp = |told: &Told| Some((told.node.clone(), told.stamp?));
            *known = all.iter().filter(ours).filter_map(stamp).collect();
        }
        Heard::Changed(changes) => {
            for told in changes.iter().filter(ours) {
                match told.stamp {
                    Some(stamp) => known.insert(told.node.clone(), stamp),
                    None => known.remove(&told.node),
                };
            }
        }
    }
    true
}
