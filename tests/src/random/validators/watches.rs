//! What a watch promises: filtered, ordered, unique, resumable.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::{Act, Doing};
use crate::house::SERVICE;

use super::super::mishap::NODES;
use super::super::record::{Stamp, Stamps, Told};
use super::super::story::{Heard, Look, Story, apply};
use super::Breach;

pub(super) fn filtered(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, heard) in &story.watches {
        for (at, told) in heard.iter().flat_map(|(at, heard)| records(*at, heard)) {
            let is_ours = told.service == SERVICE && NODES.iter().any(|(_, id)| *id == told.node);
            if !is_ours {
                let Told { service, node, .. } = told;
                let text = format!("{name}, which watches {SERVICE}, is told of {service}/{node}");
                breaches.push(Breach { at, text });
            }
        }
    }
    breaches
}

fn records(at: u64, heard: &Heard) -> impl Iterator<Item = (u64, &Told)> {
    let all: &[Told] = match heard {
        Heard::Snapshot(all) | Heard::Changed(all) => all,
        Heard::Opening | Heard::Ended => &[],
    };
    all.iter().map(move |told| (at, told))
}

pub(super) fn ordered(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut follow = |name: &str, sights: &mut dyn Iterator<Item = (u64, &Stamps)>| {
        let mut latest: BTreeMap<&str, Stamp> = BTreeMap::new();
        for (at, set) in sights {
            for (node, stamp) in set {
                let before = latest.entry(node).or_insert(*stamp);
                if (stamp.born, stamp.turn) < (before.born, before.turn) {
                    let text = format!("{name} sees {node} go back from {before:?} to {stamp:?}");
                    breaches.push(Breach { at, text });
                }
                *before = *stamp;
            }
        }
    };
    for (name, sights) in &story.sights() {
        follow(name, &mut sights.iter().map(|one| (one.from, &one.set)));
    }
    follow(
        "lookup",
        &mut story.looks.iter().map(|look| (look.told, &look.set)),
    );
    for epoch in &story.epochs {
        let mut newest = epoch.first;
        for (at, revision, told) in &epoch.changes {
            if *revision < newest {
                let text = format!("{} has revision {revision} after {newest}", told.node);
                breaches.push(Breach { at: *at, text });
            }
            newest = *revision;
        }
    }
    breaches
}

pub(super) fn unique(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, heard) in &story.watches {
        let mut known = Stamps::new();
        for (at, heard) in heard {
            if let Heard::Changed(changes) = heard {
                let mut known = known.clone();
                for told in changes {
                    if told.stamp == known.get(&told.node).copied() {
                        let text = format!("{name} is told again what it knows: {told:?}");
                        breaches.push(Breach { at: *at, text });
                    }
                    apply(&mut known, &Heard::Changed(vec![told.clone()]));
                }
            }
            apply(&mut known, heard);
        }
    }
    for epoch in &story.epochs {
        let mut numbers = BTreeSet::new();
        for (at, revision, told) in &epoch.changes {
            if !numbers.insert((*revision, &told.node)) {
                let text = format!("revision {revision} of {} is told twice", told.node);
                breaches.push(Breach { at: *at, text });
            }
        }
    }
    breaches
}

pub(super) fn resumable(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (name, heard) in &story.watches {
        let mut opening = None;
        for (at, heard) in heard {
            match heard {
                Heard::Opening => opening = Some(*at),
                Heard::Ended => {}
                Heard::Snapshot(all) => {
                    if let Some(opened) = opening.take() {
                        let missed = missed(story, opened, *at, all);
                        let breach = |text| Breach {
                            at: *at,
                            text: format!("a snapshot that {name} begins with {text}"),
                        };
                        breaches.extend(missed.into_iter().map(breach));
                    }
                }
                Heard::Changed(_) => {
                    if opening.take().is_some() {
                        let text = format!("{name} does not begin with a snapshot");
                        breaches.push(Breach { at: *at, text });
                    }
                }
            }
        }
    }
    breaches
}

/// What a snapshot says that was asked for at `opened` and told at `at`, and fresh lookups before
/// and after contradict.
fn missed(story: &Story, opened: u64, at: u64, all: &[Told]) -> Vec<String> {
    let first = story.looks.partition_point(|look| look.told <= opened);
    let last = story.looks.partition_point(|look| look.asked < at);
    let Some(looks) = first
        .checked_sub(1)
        .and_then(|first| story.looks.get(first..=last))
    else {
        return Vec::new();
    };
    let (Some(before), Some(after)) = (looks.first(), looks.last()) else {
        return Vec::new();
    };
    let mut snapshot = Stamps::new();
    apply(&mut snapshot, &Heard::Snapshot(all.to_vec()));
    let mut wrong = Vec::new();
    for (_, node) in NODES {
        let truth = before.set.get(node);
        let is_steady = |look: &Look| look.set.get(node) == truth;
        let is_written = writes(story, node, before.asked, after.told);
        if snapshot.get(node) != truth && looks.iter().all(is_steady) && !is_written {
            let said = snapshot.get(node);
            wrong.push(format!(
                "says {said:?} of {node}, of which lookups before and after say {truth:?}"
            ));
        }
    }
    wrong
}

/// Whether anybody was writing the record of `node` between two moments.
fn writes(story: &Story, node: &str, from: u64, to: u64) -> bool {
    let of_node = |act: &&Act| act.node == node && act.doing != Doing::Renew;
    let (mut begun, mut ended) = (Vec::new(), BTreeMap::new());
    for act in story.acts.iter().filter(of_node) {
        if act.outcome.is_some() {
            ended.insert((act.pid, act.number), act.when);
        } else {
            begun.push(act);
        }
    }
    begun.into_iter().any(|act| {
        // What a killed process had sent may arrive later than it died.
        let unknown = act.when + story.ttl;
        let end = ended.get(&(act.pid, act.number)).copied();
        act.when <= to && end.unwrap_or(unknown) >= from
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::record::What;
    use super::super::fixture::{Fixture, at, stamp, told};
    use super::*;

    fn changed(changes: Vec<Told>) -> What {
        What::Changed { changes }
    }

    #[test]
    fn another_services_record_is_a_breach() {
        let mut foreign = told("a1", Some(stamp("a1", 0)));
        foreign.service = "orders-other".to_owned();
        let story = Fixture::whole()
            .tell(5000, "watch-1", changed(vec![foreign]))
            .story();
        assert_eq!(filtered(&story).len(), 1);
        let story = Fixture::whole()
            .tell(5000, "watch-1", changed(vec![told("nobody", None)]))
            .story();
        assert_eq!(filtered(&story).len(), 1);
    }

    #[test]
    fn earlier_content_after_later_is_a_breach() {
        let back = changed(vec![told("a1", Some(stamp("a1", 0)))]);
        let story = Fixture::whole().tell(25_000, "watch-1", back).story();
        let breaches = ordered(&story);
        assert_eq!(breaches.len(), 1, "{breaches:?}");
        assert_eq!(breaches[0].at, at(25_000));
    }

    #[test]
    fn a_directory_or_a_lookup_that_goes_back_is_a_breach() {
        let old = Fixture::set_of(0);
        let shows = What::Shows {
            set: old.clone(),
            fallback: 0,
            live: true,
        };
        let story = Fixture::whole().tell(25_000, "directory-1", shows).story();
        assert_eq!(ordered(&story).len(), 1);
        let looked = What::Looked {
            asked: at(25_010),
            set: old,
            doubled: false,
        };
        let story = Fixture::whole().tell(25_015, "lookup", looked).story();
        assert_eq!(ordered(&story).len(), 1);
    }

    fn numbered(revision: i64, node: &str) -> What {
        What::Numbered {
            revision,
            change: told(node, None),
        }
    }

    #[test]
    fn a_revision_that_falls_or_repeats_is_a_breach_unless_numbers_begin_anew() {
        let two = |first, second| {
            Fixture::whole()
                .tell(5000, "numbers", numbered(first, "a1"))
                .tell(6000, "numbers", numbered(second, "a1"))
        };
        assert_eq!(ordered(&two(7, 8).story()), []);
        assert_eq!(ordered(&two(8, 7).story()).len(), 1);
        assert_eq!(unique(&two(7, 7).story()).len(), 1);
        let anew = What::Renumbered {
            revision: 2,
            all: Vec::new(),
        };
        let story = two(8, 7).tell(5500, "numbers", anew).story();
        assert_eq!(ordered(&story), []);
        let both = Fixture::whole()
            .tell(5000, "numbers", numbered(7, "a1"))
            .tell(5000, "numbers", numbered(7, "a2"))
            .story();
        assert_eq!((ordered(&both), unique(&both)), (vec![], vec![]));
    }

    #[test]
    fn what_is_told_twice_is_a_breach() {
        let again = changed(vec![told("b1", Some(stamp("b1", 0)))]);
        let story = Fixture::whole().tell(5000, "watch-1", again).story();
        assert_eq!(unique(&story).len(), 1);
        let gone = changed(vec![told("b1", None), told("b1", None)]);
        let story = Fixture::whole().tell(5000, "watch-1", gone).story();
        assert_eq!(unique(&story).len(), 1);
    }

    fn reopened(node: &str, known: Option<Stamp>) -> Fixture {
        let mut all = Fixture::set_of(1);
        match known {
            Some(stamp) => all.insert(node.to_owned(), stamp),
            None => all.remove(node),
        };
        let all = all.iter().map(|(node, stamp)| told(node, Some(*stamp)));
        let all = all.collect();
        let error = "reset".to_owned();
        Fixture::whole()
            .tell(30_000, "watch-1", What::Ended { error })
            .tell(30_250, "watch-1", What::Opening)
            .tell(30_270, "watch-1", What::Snapshot { all })
    }

    #[test]
    fn a_snapshot_that_misses_a_change_a_node_or_a_removal_is_a_breach() {
        let current = Some(stamp("a1", 1));
        assert_eq!(resumable(&reopened("a1", current).story()), []);
        let old = Some(stamp("a1", 0));
        assert_eq!(resumable(&reopened("a1", old).story()).len(), 1);
        assert_eq!(resumable(&reopened("b1", None).story()).len(), 1);
        let ghost = reopened("a1", current).absent("b2", 28_000, 32_000);
        assert_eq!(resumable(&ghost.story()).len(), 1);
    }

    #[test]
    fn what_is_being_written_while_a_snapshot_is_taken_may_be_in_it_or_not() {
        let old = Some(stamp("a1", 0));
        let fixture = reopened("a1", old).act("a1", Doing::Update, 30_260, 30_265);
        assert_eq!(resumable(&fixture.story()), []);
        let other = reopened("a1", old).act("a2", Doing::Update, 30_260, 30_265);
        assert_eq!(resumable(&other.story()).len(), 1);
    }

    #[test]
    fn a_watch_that_does_not_begin_with_a_snapshot_is_a_breach() {
        let change = changed(vec![told("b1", None)]);
        let story = Fixture::whole()
            .tell(30_000, "watch-1", What::Opening)
            .tell(30_100, "watch-1", change)
            .story();
        assert_eq!(resumable(&story).len(), 1);
    }
}
