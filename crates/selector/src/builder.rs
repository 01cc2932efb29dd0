//! Builds tables.

use std::sync::Arc;

use waypost_core::Instance;

use crate::alias;
use crate::maglev;
use crate::node::Place;
use crate::rules::{Prefer, Rules};
use crate::strategy::Strategy;
use crate::table::{Absent, Entry, Plan, Set, Table};
use crate::writer::{Member, Why};

/// How often the nearest nodes are determined anew.
const NEAREST_EVERY: u64 = 1_000_000_000;
/// The part of the calls that goes to nodes that are not the nearest.
const EXPLORE: f64 = 0.02;

/// Builds tables.
pub(crate) struct Builder<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) now: u64,
    /// The measured latency of a node in microseconds, over all threads.
    pub(crate) latency: &'a dyn Fn(Place) -> Option<f32>,
    /// The table so far.
    pub(crate) former: &'a Table,
}

impl Builder<'_> {
    pub(crate) fn build(&self, members: &[Member], fallback: &[Member]) -> Table {
        let filters = self.rules.filters.iter();
        let mut absent = Absent {
            filtered: filters.map(|filter| (filter.to_string(), 0)).collect(),
            ..Absent::default()
        };
        let passing: Vec<&Member> = members
            .iter()
            .filter(|member| self.passes(&member.node.instance, &mut absent))
            .collect();
        let failing = members.iter().filter(|member| member.fails()).count();
        let panic = failing > self.rules.ejection.allowed(members.len());
        let mut usable: Vec<&Member> = passing
            .iter()
            .copied()
            .filter(|member| member.is_usable(panic))
            .collect();
        // Trying a node that is out beats failing without a try.
        let desperate = usable.is_empty();
        if desperate {
            usable.clone_from(&passing);
        }
        let mut probes = Vec::new();
        if !desperate {
            for member in passing.iter().filter(|member| !member.is_usable(panic)) {
                let Some(out) = &member.out else { continue };
                match out.why {
                    Why::Failing => absent.ejected += 1,
                    Why::Unreachable => absent.unreachable += 1,
                    Why::Resting => absent.resting += 1,
                }
                if out.until <= self.now {
                    probes.push(Entry::new(&member.node));
                }
            }
        }
        let (entries, sets) = self.arrange(&usable, &passing, &mut absent);
        let ends = members.iter().filter_map(|member| member.out.as_ref());
        let mut wake = ends
            .map(|out| out.until)
            .filter(|until| *until > self.now)
            .min()
            .unwrap_or(u64::MAX);
        if matches!(self.rules.prefer, Some(Prefer::Nearest { .. })) {
            wake = wake.min(self.now + NEAREST_EVERY);
        }
        let mut ignored = absent.clone();
        Table {
            entries,
            fallback: fallback
                .iter()
                .filter(|member| self.passes(&member.node.instance, &mut ignored))
                .map(|member| Entry::new(&member.node))
                .collect(),
            troubled: wake < u64::MAX || !probes.is_empty(),
            probes: probes.into(),
            sets,
            live: members.len(),
            wake,
            panic: panic || (desperate && !passing.is_empty()),
            absent,
        }
    }

    fn passes(&self, instance: &Instance, absent: &mut Absent) -> bool {
        for (filter, (_, count)) in self.rules.filters.iter().zip(&mut absent.filtered) {
            if !filter.admits(instance) {
                *count += 1;
                return false;
            }
        }
        if matches!(self.rules.strategy, Strategy::Weighted) && weight(instance) == 0.0 {
            absent.weightless += 1;
            return false;
        }
        true
    }

    /// Brings the nodes into an order in which every set is a range.
    fn arrange(
        &self,
        usable: &[&Member],
        passing: &[&Member],
        absent: &mut Absent,
    ) -> (Arc<[Entry]>, Arc<[Set]>) {
        let mut entries: Vec<Entry> = Vec::with_capacity(usable.len());
        let mut sets: Vec<Set> = Vec::new();
        for (label, weight, group) in self.versions(usable, absent) {
            for (tier, share, nodes) in self.tiers(&group, passing) {
                let start = entries.len() as u32;
                entries.extend(nodes.iter().map(|member| Entry::new(&member.node)));
                sets.push(Set {
                    cut: 0,
                    share: weight * share,
                    start,
                    len: nodes.len() as u32,
                    plan: self.plan(&nodes, sets.len()),
                    label: [label.as_str(), tier].join(" ").trim().to_owned(),
                });
            }
        }
        let all: f64 = sets.iter().map(|set| set.share).sum();
        let mut until = 0.0;
        for set in &mut sets {
            set.share /= all;
            until += set.share;
            // 2^64 as a float saturates to the greatest integer.
            set.cut = (until * 18_446_744_073_709_551_616.0) as u64;
        }
        if let Some(last) = sets.last_mut() {
            last.cut = u64::MAX;
        }
        (entries.into(), sets.into())
    }

    /// The nodes by their version's share.
    fn versions<'m>(
        &self,
        usable: &[&'m Member],
        absent: &mut Absent,
    ) -> Vec<(String, f64, Vec<&'m Member>)> {
        let Some(canary) = &self.rules.canary else {
            if usable.is_empty() {
                return Vec::new();
            }
            return vec![(String::new(), 1.0, usable.to_vec())];
        };
        let mut groups: Vec<_> = canary
            .shares
            .iter()
            .map(|(version, weight)| (format!("version {version}"), *weight, Vec::new()))
            .collect();
        groups.push(("other versions".to_owned(), canary.rest, Vec::new()));
        let rest = groups.len() - 1;
        for member in usable {
            let version = &member.node.instance.version;
            let group = canary.shares.iter().position(|(known, _)| known == version);
            if let Some((_, _, nodes)) = groups.get_mut(group.unwrap_or(rest)) {
                nodes.push(*member);
            }
        }
        groups.retain(|(_, weight, nodes)| {
            if *weight == 0.0 {
                absent.shareless += nodes.len();
            }
            *weight > 0.0 && !nodes.is_empty()
        });
        groups
    }

    /// The nodes of one group, those that are preferred first, each part with its share.
    fn tiers<'m>(
        &self,
        group: &[&'m Member],
        passing: &[&Member],
    ) -> Vec<(&'static str, f64, Vec<&'m Member>)> {
        let all = || vec![("", 1.0, group.to_vec())];
        let (near, far, share): (Vec<&Member>, Vec<&Member>, f64) = match &self.rules.prefer {
            None => return all(),
            Some(prefer @ Prefer::Label { enough, .. }) => {
                let has = |member: &&&Member| prefer.has_label(&member.node.instance) == Some(true);
                let known = passing.iter().filter(has).count().max(1) as f64;
                let there = group.iter().filter(has).count() as f64;
                let (near, far) = group.iter().copied().partition(|member| has(&member));
                (near, far, (there / known / enough).min(1.0))
            }
            Some(Prefer::Nearest { within }) => {
                let latency = |member: &Member| (self.latency)(member.node.place);
                let fastest = group.iter().filter_map(|one| latency(one)).reduce(f32::min);
                let Some(fastest) = fastest else {
                    return all();
                };
                let limit = f64::from(fastest) * within;
                let is_near =
                    |member: &&Member| latency(member).is_some_and(|own| f64::from(own) <= limit);
                let (near, far) = group.iter().copied().partition(is_near);
                (near, far, 1.0 - EXPLORE)
            }
        };
        if near.is_empty() || far.is_empty() {
            return all();
        }
        let mut tiers = vec![("preferred", share, near)];
        if share < 1.0 {
            tiers.push(("spill-over", 1.0 - share, far));
        } else {
            // Still there for retries and for filters of a call.
            tiers.push(("reserve", 0.0, far));
        }
        tiers
    }

    /// What the strategy needs of `nodes`, which are to be set `number`.
    fn plan(&self, nodes: &[&Member], number: usize) -> Plan {
        match self.rules.strategy {
            Strategy::Weighted => {
                let weights: Vec<f64> =
                    nodes.iter().map(|one| weight(&one.node.instance)).collect();
                Plan::Alias(alias::table(&weights))
            }
            Strategy::ConsistentHash => Plan::Maglev(self.hashed(nodes, number)),
            Strategy::Random => Plan::Random,
            Strategy::RoundRobin => Plan::InTurn,
            Strategy::LeastConn => Plan::OfTwo { latency: false },
            Strategy::P2cEwma => Plan::OfTwo { latency: true },
            Strategy::Custom(_) => Plan::Custom,
        }
    }
}

impl Builder<'_> {
    /// The former table, where the nodes are the same: filling it takes milliseconds.
    fn hashed(&self, nodes: &[&Member], number: usize) -> maglev::Owners {
        let former = self.former.sets.get(number);
        if let Some(set) = former
            && let Plan::Maglev(table) = &set.plan
            && let start = set.start as usize
            && let Some(known) = self.former.entries.get(start..start + set.len as usize)
            && known
                .iter()
                .map(|entry| entry.node.id())
                .eq(nodes.iter().map(|one| one.node.id()))
        {
            return table.clone();
        }
        maglev::table(nodes.iter().map(|one| one.node.id().as_str()))
    }
}

/// The weight in a node's metadata: 1 where there is none, or none that makes sense.
pub(crate) fn weight(instance: &Instance) -> f64 {
    let text = instance.node.metadata.get("weight");
    text.and_then(|text| text.trim().parse::<f64>().ok())
        .filter(|weight| (0.0..=1e6).contains(weight))
        .unwrap_or(1.0)
}
