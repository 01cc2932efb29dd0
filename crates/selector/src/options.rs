//! What one call asks of a pick, and what it is told when there is nobody.

use std::fmt;
use std::sync::Arc;

use waypost_core::{Error, ErrorKind, ServiceName};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::builder::weight;
use crate::compare::{Compare, is_no_worse};
use crate::counts::ticks;
use crate::local::Local;
use crate::node::Place;
use crate::pick::{Pick, Word};
use crate::rules::Filter;
use crate::shared::Shared;
use crate::strategy::{Candidate, Key, Strategy};
use crate::table::{Absent, Entry, Table};

/// What one call asks of a pick.
///
/// Filters and strategies of a call are applied to each node then and there: for 10 000 nodes that
/// is 10 000 looks. What all calls have in common belongs into [`Rules`](crate::Rules), where it is
/// arranged once.
#[derive(Debug, Clone)]
#[must_use]
pub struct Options<'a> {
    pub(crate) filters: &'a [Filter],
    pub(crate) strategy: Option<&'a Strategy>,
    pub(crate) key: Option<Key>,
    pub(crate) avoid: &'a [Place],
    pub(crate) may_probe: bool,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            filters: &[],
            strategy: None,
            key: None,
            avoid: &[],
            may_probe: true,
        }
    }
}

impl<'a> Options<'a> {
    /// Nothing in particular.
    pub fn new() -> Self {
        Self::default()
    }

    /// Conditions beside those of the rules.
    pub fn with_filters(mut self, filters: &'a [Filter]) -> Self {
        self.filters = filters;
        self
    }

    /// Another strategy than that of the rules. One that looks at calls under way needs
    /// [`Rules::with_counts`](crate::Rules::with_counts) where the rules' own does not.
    pub fn with_strategy(mut self, strategy: &'a Strategy) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// What ties the call to a node (consistent hashing) and to a version (canary).
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Whether the call may be the one that tries an ejected node. Default yes; no for a call that
    /// cannot be repeated.
    pub fn with_probing(mut self, may_probe: bool) -> Self {
        self.may_probe = may_probe;
        self
    }

    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.filters.is_empty() && self.avoid.is_empty() && self.strategy.is_none()
    }

    pub(crate) fn admits(&self, entry: &Entry) -> bool {
        let instance = &entry.node.instance;
        !self.avoid.contains(&entry.place) && self.filters.iter().all(|one| one.admits(instance))
    }

    pub(crate) fn begin(&self, local: &Arc<Local>, index: u32) -> Pick {
        let entry = local.table.entry(index);
        let cell = match (&local.counts, entry) {
            (Some(counts), Some(entry)) => counts.cell(entry.place),
            _ => None,
        };
        let started = cell.map_or(0, |cell| {
            cell.start();
            local.clock.now()
        });
        Pick::new(Arc::clone(local), Word::new(index, started))
    }

    /// Looks at every node: the sets by their share, then the fallback, then those that were tried.
    pub(crate) fn choose(
        &self,
        shared: &Shared,
        local: &Arc<Local>,
    ) -> Result<Pick, NoneAvailable> {
        let table = &*local.table;
        let admitted: Vec<Vec<u32>> = table
            .sets
            .iter()
            .map(|set| self.admitted(table, set.start, set.len))
            .collect();
        let strategy = self.strategy.unwrap_or(&shared.rules.strategy);
        let mut indexes = self.draw(table, admitted);
        if indexes.is_empty() {
            let start = table.entries.len() as u32;
            indexes = self.admitted(table, start, table.fallback.len() as u32);
        }
        if indexes.is_empty() && !self.avoid.is_empty() {
            let mut again = self.clone();
            again.avoid = &[];
            return again.choose(shared, local);
        }
        match self.one_of(&indexes, strategy, local) {
            Some(index) => Ok(self.begin(local, index)),
            None => Err(self.none(shared, table, indexes.len())),
        }
    }

    fn admitted(&self, table: &Table, start: u32, len: u32) -> Vec<u32> {
        let admits = |index: &u32| table.entry(*index).is_some_and(|entry| self.admits(entry));
        (start..start + len).filter(admits).collect()
    }

    /// One of the sets that have somebody, by their shares among them.
    fn draw(&self, table: &Table, admitted: Vec<Vec<u32>>) -> Vec<u32> {
        let some = || {
            let sets = table.sets.iter().zip(&admitted);
            sets.filter(|(_, indexes)| !indexes.is_empty())
        };
        let all: f64 = some().map(|(set, _)| set.share).sum();
        let mut left = match self.key {
            Some(key) => all * (xxh3_64_with_seed(&key.0.to_le_bytes(), 3) as f64 / 2f64.powi(64)),
            None => all * fastrand::f64(),
        };
        let chosen = some()
            .find(|(set, _)| {
                left -= set.share;
                left < 0.0
            })
            .or_else(|| some().next());
        let chosen = chosen.map(|(set, _)| set.start);
        let place = table.sets.iter().position(|set| Some(set.start) == chosen);
        place
            .and_then(|place| admitted.into_iter().nth(place))
            .unwrap_or_default()
    }

    fn one_of(&self, indexes: &[u32], strategy: &Strategy, local: &Arc<Local>) -> Option<u32> {
        let table = &*local.table;
        let drawn = |below: usize| indexes.get(fastrand::usize(..below.max(1))).copied();
        match strategy {
            Strategy::Random | Strategy::RoundRobin => drawn(indexes.len()),
            Strategy::Weighted => by_weight(table, indexes),
            Strategy::ConsistentHash => match self.key {
                Some(key) => highest(table, indexes, key),
                None => drawn(indexes.len()),
            },
            Strategy::LeastConn | Strategy::P2cEwma => {
                let first = drawn(indexes.len())?;
                let second = drawn(indexes.len())?;
                let Some(counts) = &local.counts else {
                    return Some(first);
                };
                let compare = Compare {
                    counts,
                    peers: &local.peers,
                    now: ticks(local.clock.now()),
                    latency: matches!(strategy, Strategy::P2cEwma),
                };
                let one = compare.score(table.entry(first)?)?;
                let other = compare.score(table.entry(second)?)?;
                Some(if is_no_worse(one, other) {
                    first
                } else {
                    second
                })
            }
            Strategy::Custom(choose) => {
                if indexes.is_empty() {
                    return None;
                }
                let now = ticks(local.clock.now());
                let candidates: Vec<Candidate<'_>> = indexes
                    .iter()
                    .filter_map(|index| Some(candidate(local, table.entry(*index)?, now)))
                    .collect();
                indexes.get(choose.choose(&candidates, self.key)?).copied()
            }
        }
    }

    #[cold]
    fn none(&self, shared: &Shared, table: &Table, admitted: usize) -> NoneAvailable {
        let mut absent = table.absent.clone();
        let mut passing: Vec<&Entry> = table.entries.iter().chain(&table.fallback).collect();
        for filter in self.filters {
            let before = passing.len();
            passing.retain(|entry| filter.admits(&entry.node.instance));
            absent
                .filtered
                .push((filter.to_string(), before - passing.len()));
        }
        NoneAvailable(Box::new(Stand {
            service: shared.service.clone(),
            live: table.live,
            fallback: table.fallback.len(),
            refused: admitted,
            absent,
        }))
    }
}

pub(crate) fn candidate<'a>(local: &Local, entry: &'a Entry, now: u32) -> Candidate<'a> {
    let known = local
        .counts
        .as_ref()
        .and_then(|counts| Some((counts, counts.cell(entry.place)?)));
    let (in_flight, latency) = match known {
        Some((counts, cell)) => {
            if local.peers.len() > 1 {
                counts.look(entry.place, cell, &local.peers, now);
            }
            let measured = cell.latency() > 0.0;
            let expected = cell.expected(now, counts.mean());
            (cell.in_flight(), if measured { expected } else { 0.0 })
        }
        None => (0, 0.0),
    };
    Candidate {
        instance: &entry.node.instance,
        in_flight,
        latency,
    }
}

fn by_weight(table: &Table, indexes: &[u32]) -> Option<u32> {
    let weight_of = |index: &u32| {
        let entry = table.entry(*index);
        entry.map_or(0.0, |entry| weight(&entry.node.instance))
    };
    let all: f64 = indexes.iter().map(weight_of).sum();
    let mut left = all * fastrand::f64();
    let chosen = indexes.iter().find(|index| {
        left -= weight_of(index);
        left < 0.0
    });
    chosen.copied().filter(|_| all > 0.0)
}

/// Rendezvous hashing: the highest of the hashes of key and node.
fn highest(table: &Table, indexes: &[u32], key: Key) -> Option<u32> {
    indexes.iter().copied().max_by_key(|index| {
        let entry = table.entry(*index);
        entry.map(|entry| xxh3_64_with_seed(entry.node.id().as_str().as_bytes(), key.0))
    })
}

/// No node can be picked, and what stands against each.
///
/// One word, so that every pick's result travels in registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoneAvailable(Box<Stand>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    service: ServiceName,
    live: usize,
    fallback: usize,
    refused: usize,
    absent: Absent,
}

impl NoneAvailable {
    pub(crate) fn unknown(service: ServiceName) -> Self {
        Self(Box::new(Stand {
            service,
            live: 0,
            fallback: 0,
            refused: 0,
            absent: Absent::default(),
        }))
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.0.service
    }

    /// How many live nodes the registry knows.
    #[must_use]
    pub fn live(&self) -> usize {
        self.0.live
    }

    /// How many nodes are kept for when no live one answers.
    #[must_use]
    pub fn fallback(&self) -> usize {
        self.0.fallback
    }

    /// How many a strategy of your own was offered and refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.0.refused
    }

    /// Each filter, in order, and how many nodes it turned away of those that passed the ones before.
    pub fn filtered(&self) -> impl Iterator<Item = (&str, usize)> {
        let counts = self.0.absent.filtered.iter();
        counts.map(|(filter, count)| (filter.as_str(), *count))
    }

    /// Whether the registry knows no node of the service at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.live == 0 && self.0.fallback == 0
    }
}

impl fmt::Display for NoneAvailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stand {
            service,
            live,
            fallback,
            refused,
            absent,
        } = &*self.0;
        if self.is_empty() {
            return write!(f, "service `{service}` has no live node");
        }
        let all = live + fallback;
        write!(f, "service `{service}`: none of {all} nodes can be picked")?;
        let mut reasons = Vec::new();
        for (filter, count) in self.filtered().filter(|(_, count)| *count > 0) {
            reasons.push(format!("{count} fail {filter}"));
        }
        for (count, reason) in [
            (absent.weightless, "have weight 0"),
            (absent.shareless, "are of a version without a share"),
            (absent.ejected, "are ejected"),
            (absent.unreachable, "cannot be reached"),
            (absent.resting, "asked to be left alone"),
            (*refused, "were refused by the strategy"),
        ] {
            if count > 0 {
                reasons.push(format!("{count} {reason}"));
            }
        }
        if !reasons.is_empty() {
            write!(f, ": {}", reasons.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for NoneAvailable {}

impl From<NoneAvailable> for Error {
    fn from(none: NoneAvailable) -> Self {
        let kind = if none.is_empty() {
            ErrorKind::NotFound
        } else {
            ErrorKind::Unavailable
        };
        Self::new(kind, none.to_string())
    }
}
