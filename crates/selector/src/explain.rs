//! Why a node was picked, and why others are not.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::counts::ticks;
use crate::local::Local;
use crate::options::candidate;
use crate::shared::Shared;
use crate::table::Entry;
use crate::writer::{self, Member, Writer};

/// Why this node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Why {
    /// The node's id.
    pub node: String,
    /// The strategy that chose it.
    pub strategy: &'static str,
    /// What the nodes that it was chosen among have in common; empty for all.
    pub set: String,
    /// The part of all calls that those get, 0 to 1.
    pub share: f64,
    /// How many those are.
    pub among: u32,
    /// How many live nodes there are.
    pub live: usize,
    /// Whether this call decides if the node returns from ejection.
    pub probe: bool,
    /// Whether it was taken since no live node would do.
    pub fallback: bool,
    /// Whether ejections are ignored, since too many nodes fail.
    pub panic: bool,
}

impl Why {
    pub(crate) fn of(local: &Local, index: u32, probe: bool) -> Self {
        let table = &local.table;
        let node = table.entry(index).map(|one| one.node.id().to_string());
        let strategy = local.shared.upgrade();
        let set = table.set_of(index);
        Self {
            node: node.unwrap_or_default(),
            strategy: strategy.map_or("", |shared| shared.rules.strategy.name()),
            set: set.map(|set| set.label.clone()).unwrap_or_default(),
            share: set.map_or(0.0, |set| set.share),
            among: set.map_or(1, |set| set.len),
            live: table.live,
            probe,
            fallback: set.is_none() && !probe,
            panic: table.panic,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node, among, live, ..
        } = self;
        if self.probe {
            return write!(f, "{node}: to see whether it may return from ejection");
        }
        if self.fallback {
            return write!(f, "{node}: since none of {live} live nodes would do");
        }
        write!(f, "{node}: by {} among {among} of {live}", self.strategy)?;
        if !self.set.is_empty() {
            write!(f, " ({}, {:.1} % of calls)", self.set, self.share * 100.0)?;
        }
        if self.panic {
            f.write_str("; too many nodes fail for leaving any out")?;
        }
        Ok(())
    }
}

/// What is picked from, and why not from others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The service.
    pub service: String,
    /// The strategy.
    pub strategy: &'static str,
    /// What every node must meet.
    pub filters: Vec<String>,
    /// Whether ejections are ignored, since too many nodes fail.
    pub panic: bool,
    /// All nodes that are known.
    pub nodes: Vec<Explained>,
}

/// One node of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explained {
    /// The node's id.
    pub id: String,
    /// Where it listens.
    pub address: String,
    /// The version of its service.
    pub version: String,
    /// The part of all calls that it is to get, 0 to 1; for strategies that look at load, before they
    /// look.
    pub share: f64,
    /// Why it gets none, or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Calls under way, as this thread knows.
    pub in_flight: u32,
    /// Latency in microseconds as this thread expects it; 0 when nothing was measured.
    pub latency: f32,
    /// Failures among the last 64 results.
    pub failures: u32,
}

pub(crate) fn explain(shared: &Shared, writer: &Writer, local: &Arc<Local>) -> Explanation {
    let table = &local.table;
    let explained = |member: &Member, fallback: bool| {
        let instance = &member.node.instance;
        let entry = Entry {
            place: member.node.place,
            node: Arc::clone(&member.node),
        };
        let index = table
            .entries
            .iter()
            .position(|one| one.place == entry.place);
        let set = index.and_then(|index| table.set_of(index as u32));
        let seen = candidate(local, &entry, ticks(local.clock.now()));
        let (in_flight, latency) = (seen.in_flight, seen.latency);
        let refused = shared
            .rules
            .filters
            .iter()
            .find(|one| !one.admits(instance));
        let why = match (refused, &member.out) {
            (Some(filter), _) => Some(format!("fails {filter}")),
            (None, Some(out)) => Some(out_for(out, local.clock.now(), table.panic)),
            (None, None) if fallback => Some("left in a mass departure; kept as fallback".into()),
            (None, None) if index.is_none() => Some("has no weight or no share".into()),
            (None, None) => None,
        };
        Explained {
            id: instance.node.id.to_string(),
            address: instance.node.address.to_string(),
            version: instance.version.clone(),
            share: set.map_or(0.0, |set| set.share / f64::from(set.len)),
            why,
            in_flight,
            latency,
            failures: member.node.health.results().count_ones(),
        }
    };
    let live = writer.members.iter().map(|member| explained(member, false));
    let fallback = writer.fallback.iter().map(|member| explained(member, true));
    Explanation {
        service: shared.service.to_string(),
        strategy: shared.rules.strategy.name(),
        filters: shared
            .rules
            .filters
            .iter()
            .map(ToString::to_string)
            .collect(),
        panic: table.panic,
        nodes: live.chain(fallback).collect(),
    }
}

fn out_for(out: &writer::Out, now: u64, panic: bool) -> String {
    let what = match out.why {
        writer::Why::Failing => "ejected after failures",
        writer::Why::Unreachable => "no connection could be made",
        writer::Why::Resting => "asked to be left alone",
    };
    if panic {
        return format!("{what}; called all the same, since too many nodes fail");
    }
    match out.until.checked_sub(now) {
        Some(left) => format!("{what}; for {:.1} s", left as f64 / 1e9),
        None => format!("{what}; the next call tries it"),
    }
}
