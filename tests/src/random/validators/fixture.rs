//! Histories made by hand: a minute of a house in which all is well, and what may be done to it.

use std::collections::BTreeMap;

use crate::agent::{Act, Doing};
use crate::house::SERVICE;

use super::super::mishap::{Mishap, NODES};
use super::super::record::{Entry, Stamp, Stamps, Told, What};
use super::super::story::Story;

/// When the history begins, in microseconds.
const BEGUN: u64 = 1_000_000_000;
/// Milliseconds that it lasts.
const LASTS: u64 = 60_000;
/// When the mishap begins.
const MISHAP: u64 = 10_000;
/// How much later than it happens a watch tells of a change.
const DELAY: u64 = 20;

/// The moment so many milliseconds after the begin.
pub(in super::super) fn at(millis: u64) -> u64 {
    BEGUN + millis * 1000
}

/// Content of a node's record.
pub(in super::super) fn stamp(node: &str, turn: u64) -> Stamp {
    Stamp {
        born: BEGUN,
        turn,
        hash: node
            .bytes()
            .fold(turn as u32, |hash, byte| hash * 31 + u32::from(byte)),
    }
}

/// What a watch of the house's service is told.
pub(in super::super) fn told(node: &str, stamp: Option<Stamp>) -> Told {
    Told {
        service: SERVICE.to_owned(),
        node: node.to_owned(),
        stamp,
    }
}

/// A minute in which all six nodes are there, and `a1` changes once, after twenty seconds. Times
/// are milliseconds.
#[derive(Debug, Clone)]
pub(in super::super) struct Fixture {
    truth: BTreeMap<u64, Vec<(String, Option<Stamp>)>>,
    /// Observers, and from when to when they hear nothing.
    deaf: Vec<(String, u64, u64)>,
    more: Vec<Entry>,
}

impl Fixture {
    pub(in super::super) fn whole() -> Self {
        let all = NODES.map(|(_, node)| (node.to_owned(), Some(stamp(node, 0))));
        Self {
            truth: BTreeMap::from([(0, all.to_vec())]),
            deaf: Vec::new(),
            more: Vec::new(),
        }
        .update("a1", 20_000, 1)
    }

    /// All six nodes, `a1` with the content of this turn.
    pub(in super::super) fn set_of(turn: u64) -> Stamps {
        let turn_of = |node: &str| if node == "a1" { turn } else { 0 };
        let all = NODES.iter();
        all.map(|(_, node)| ((*node).to_owned(), stamp(node, turn_of(node))))
            .collect()
    }

    pub(in super::super) fn update(mut self, node: &str, when: u64, turn: u64) -> Self {
        let change = (node.to_owned(), Some(stamp(node, turn)));
        self.truth.entry(when).or_default().push(change);
        self
    }

    /// The node is missing, and everybody hears of it.
    pub(in super::super) fn absent(mut self, node: &str, from: u64, to: u64) -> Self {
        let before = self.truth.range(..=from);
        let known = before.rev().flat_map(|(_, changes)| changes.iter().rev());
        let content = known.filter(|(name, _)| name == node).find_map(|(_, s)| *s);
        let gone = (node.to_owned(), None);
        self.truth.entry(from).or_default().push(gone);
        let back = (node.to_owned(), content);
        self.truth.entry(to).or_default().push(back);
        self
    }

    /// An observer never hears of anything from now on.
    pub(in super::super) fn deaf(self, observer: &str, from: u64) -> Self {
        self.late(observer, from, u64::MAX)
    }

    /// An observer hears of what happens between two moments at the second.
    pub(in super::super) fn late(mut self, observer: &str, from: u64, to: u64) -> Self {
        self.deaf.push((observer.to_owned(), from, to));
        self
    }

    /// A mishap after ten seconds; two seconds after it is over all has healed.
    pub(in super::super) fn mishap(self, mishap: Mishap) -> Self {
        let (round, place) = (1, 0);
        let over = MISHAP + mishap.lasts();
        let begun = What::Mishap {
            round,
            place,
            mishap,
        };
        self.tell(MISHAP, "schedule", begun)
            .tell(over, "schedule", What::Over { round, place })
            .tell(over + 2000, "schedule", What::Healed { round })
    }

    pub(in super::super) fn act(self, node: &str, doing: Doing, from: u64, to: u64) -> Self {
        let act = |when, outcome: Option<&str>| {
            What::Act(Act {
                number: from,
                when: at(when),
                pid: 1,
                node: node.to_owned(),
                doing,
                stamp: None,
                outcome: outcome.map(str::to_owned),
            })
        };
        self.tell(from, "agent-a", act(from, None))
            .tell(to, "agent-a", act(to, Some("ok")))
    }

    pub(in super::super) fn tell(mut self, when: u64, who: &str, what: What) -> Self {
        self.more.push(entry(when, who, what));
        self
    }

    pub(in super::super) fn story(self) -> Story {
        let mut entries = Vec::new();
        for who in ["agent-a", "self"] {
            let usage = |ended| What::Usage {
                ended,
                memory: 20_480,
                descriptors: 12,
            };
            entries.push(entry(1000, who, usage(false)));
            entries.push(entry(LASTS - 10, who, usage(true)));
        }
        entries.push(entry(
            0,
            "schedule",
            What::Began {
                server: "etcd".to_owned(),
                seed: 1,
                ttl: 5_000_000,
                slack: 1_500_000,
                keeps: true,
            },
        ));
        self.looks(&mut entries);
        self.watch(&mut entries);
        self.directory(&mut entries);
        let set = self.known(LASTS);
        entries.push(entry(LASTS - 5, "lookup", What::Final { set }));
        entries.extend(self.more);
        entries.sort_by_key(|entry| entry.at);
        Story::new(entries)
    }

    fn known(&self, when: u64) -> Stamps {
        let mut known = Stamps::new();
        for (node, content) in self.truth.range(..=when).flat_map(|(_, changes)| changes) {
            match content {
                Some(stamp) => known.insert(node.clone(), *stamp),
                None => known.remove(node),
            };
        }
        known
    }

    fn looks(&self, entries: &mut Vec<Entry>) {
        for when in (0..LASTS - 100).step_by(100) {
            let looked = What::Looked {
                asked: at(when),
                set: self.known(when + 3),
                doubled: false,
            };
            entries.push(entry(when + 5, "lookup", looked));
        }
    }

    /// When an observer hears of what happens at `when`, if ever.
    fn heard(&self, observer: &str, when: u64) -> Option<u64> {
        let is_deaf = |(name, from, to): &&(String, u64, u64)| {
            name == observer && (from..to).contains(&&when)
        };
        match self.deaf.iter().find(is_deaf) {
            Some((_, _, u64::MAX)) => None,
            Some((_, _, to)) => Some(*to),
            None => Some(when + DELAY),
        }
    }

    fn watch(&self, entries: &mut Vec<Entry>) {
        let name = "watch-1";
        entries.push(entry(0, name, What::Opening));
        for (when, changes) in &self.truth {
            let changes = changes.iter();
            let all = changes.map(|(node, stamp)| told(node, *stamp)).collect();
            let what = match when {
                0 => What::Snapshot { all },
                _ => What::Changed { changes: all },
            };
            if let Some(heard) = self.heard(name, *when) {
                entries.push(entry(heard, name, what));
            }
        }
    }

    fn directory(&self, entries: &mut Vec<Entry>) {
        let name = "directory-1";
        for when in self.truth.keys() {
            if let Some(heard) = self.heard(name, *when) {
                let shows = What::Shows {
                    set: self.known(*when),
                    fallback: 0,
                    live: true,
                };
                entries.push(entry(heard, name, shows));
            }
        }
        let reads = What::Reads {
            reads: 12_000,
            empty: 0,
            slowest: 40,
        };
        entries.push(entry(LASTS, name, reads));
    }
}

fn entry(when: u64, who: &str, what: What) -> Entry {
    Entry {
        at: at(when),
        who: who.to_owned(),
        what,
    }
}
