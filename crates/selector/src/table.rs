//! What a pick reads: an immutable table, built when something is published.

use std::sync::Arc;

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

/// What a strategy needs beside the nodes.
#[derive(Debug)]
pub(crate) enum Plan {
    None,
    /// Vose's alias method: take the place itself below the threshold, else the other one.
    Alias(Box<[(u32, u32)]>),
    Maglev(Arc<[u32]>),
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
    pub(crate) entries: Box<[Entry]>,
    /// Those that the directory keeps for when no live one answers.
    pub(crate) fallback: Box<[Entry]>,
    /// Those that one call may try.
    pub(crate) probes: Box<[Entry]>,
    pub(crate) sets: Box<[Set]>,
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
