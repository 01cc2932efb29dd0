//! What a pick reads: an immutable table, built when something is published.

use std::sync::Arc;

use crate::maglev::Owners;
use crate::node::{Node, Place};

/// One node of a table. Where its counts are stands beside the pointer, so that comparing two nodes
/// does not need to follow it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) node: Arc<Node>,
}

impl Entry {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self {
            place: node.place,
            node: Arc::clone(node),
        }
    }
}

/// Nodes that are chosen among.
#[derive(Debug)]
pub(crate) struct Set {
    /// Drawn when a random number is below this and not below the former set's.
    pub(crate) cut: u64,
    /// The part of all calls that it gets.
    pub(crate) share: f64,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) plan: Plan,
    /// What its nodes have in common, for people.
    pub(crate) label: String,
}

/// How one of a set is chosen: the strategy, and what it needs beside the nodes.
#[derive(Debug)]
pub(crate) enum Plan {
    Random,
    InTurn,
    /// Vose's alias method: take the place itself below the threshold, else the other one.
    Alias(Arc<[(u32, u32)]>),
    Maglev(Owners),
    /// The better one of two.
    OfTwo {
        latency: bool,
    },
    /// By the user's own code.
    Custom,
}

/// How a node is chosen where that takes a few steps only: all are one set, there is nothing to
/// count, and no look at the clock or at probes.
#[derive(Debug)]
pub(crate) enum Quick {
    Random { len: u32 },
    InTurn { len: u32 },
    Alias(Arc<[(u32, u32)]>),
    Narrow(Arc<[u16]>),
    Wide(Arc<[u32]>),
    No,
}

/// Why nodes are not in the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Absent {
    pub(crate) filtered: Vec<(String, usize)>,
    pub(crate) weightless: usize,
    pub(crate) shareless: usize,
    pub(crate) ejected: usize,
    pub(crate) unreachable: usize,
    pub(crate) resting: usize,
}

/// The nodes of a service at one moment, arranged for picking.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Arc<[Entry]>,
    /// Those that the directory keeps for when no live one answers.
    pub(crate) fallback: Box<[Entry]>,
    /// Those that one call may try.
    pub(crate) probes: Box<[Entry]>,
    pub(crate) sets: Arc<[Set]>,
    /// Number of live nodes, filtered or not.
    pub(crate) live: usize,
    /// When it is to be built again though nothing was published.
    pub(crate) wake: u64,
    /// Whether a pick must look at probes and the clock.
    pub(crate) troubled: bool,
    /// Whether ejections are ignored, since too many nodes would be out.
    pub(crate) panic: bool,
    pub(crate) absent: Absent,
}

impl Table {
    pub(crate) fn quick(&self, counts: bool) -> Quick {
        let [set] = &*self.sets else {
            return Quick::No;
        };
        match &set.plan {
            _ if counts || self.troubled => Quick::No,
            Plan::Random => Quick::Random { len: set.len },
            Plan::InTurn => Quick::InTurn { len: set.len },
            Plan::Alias(table) => Quick::Alias(Arc::clone(table)),
            Plan::Maglev(Owners::Narrow(owners)) => Quick::Narrow(Arc::clone(owners)),
            Plan::Maglev(Owners::Wide(owners)) => Quick::Wide(Arc::clone(owners)),
            Plan::OfTwo { .. } | Plan::Custom => Quick::No,
        }
    }

    /// The entry at `index`: entries, then fallback, then probes.
    pub(crate) fn entry(&self, index: u32) -> Option<&Entry> {
        let index = index as usize;
        if let Some(entry) = self.entries.get(index) {
            return Some(entry);
        }
        let index = index - self.entries.len();
        let probe = || self.probes.get(index.checked_sub(self.fallback.len())?);
        self.fallback.get(index).or_else(probe)
    }

    /// The entry at an index that was drawn from this table, of the fallback or the probes.
    #[cold]
    #[expect(clippy::expect_used, reason = "proved by who calls it")]
    pub(crate) fn entry_aside(&self, index: u32) -> &Entry {
        self.entry(index)
            .expect("a pick holds the table that it was drawn from")
    }

    pub(crate) fn set_of(&self, index: u32) -> Option<&Set> {
        self.sets
            .iter()
            .find(|set| (set.start..set.start + set.len).contains(&index))
    }
}
