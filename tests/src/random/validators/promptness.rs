//! Nobody misses a change for long.

use std::time::Duration;

use crate::bounds::EPSILON;

use super::super::mishap::NODES;
use super::super::record::{Stamp, Stamps};
use super::super::story::{Look, Sight, Story};
use super::super::windows::{Span, blind};
use super::Breach;

/// How long an observer whose connection is well may not know of a change that a lookup has told.
const LAG: Duration = EPSILON;

/// Holds what every observer knows against the fresh lookups: once they have told of other
/// content, the observer has [`LAG`] to know of it too, not counting the time for which it was
/// hindered.
pub(super) fn reliable(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let sights = story.sights();
    if sights.is_empty() || story.looks.is_empty() {
        let text = "nobody looked".to_owned();
        return vec![Breach { at: 0, text }];
    }
    for (name, sights) in &sights {
        let blind = blind(story, name);
        for (_, node) in NODES {
            for (stamp, held) in periods(node, sights) {
                let lag = LAG.as_micros() as u64;
                let late = |piece: &Span| piece.to - piece.from > lag;
                let outdated = outdated(&story.looks, node, stamp, held);
                let mut pieces = outdated.into_iter().flat_map(|one| one.without(&blind));
                if let Some(piece) = pieces.find(late) {
                    let took = Duration::from_micros(piece.to - piece.from);
                    breaches.push(Breach {
                        at: piece.from + lag,
                        text: format!(
                            "{name} holds {stamp:?} of {node} for {took:?} after a fresh lookup \
                             told of something else"
                        ),
                    });
                }
            }
        }
    }
    breaches
}

/// From when to when the observer held which content of a node.
fn periods(node: &str, sights: &[Sight]) -> Vec<(Option<Stamp>, Span)> {
    let content = |set: &Stamps| set.get(node).copied();
    let same = |a: &Sight, b: &Sight| content(&a.set) == content(&b.set);
    let period = |sights: &[Sight]| {
        let (first, last) = (sights.first()?, sights.last()?);
        let (from, to) = (first.from, last.to);
        Some((content(&first.set), Span { from, to }))
    };
    sights.chunk_by(same).filter_map(period).collect()
}

/// The parts of a period in which lookups told of other content.
fn outdated(looks: &[Look], node: &str, stamp: Option<Stamp>, held: Span) -> Vec<Span> {
    let first = looks.partition_point(|look| look.told < held.from);
    let end = looks.partition_point(|look| look.asked <= held.to);
    let during = looks.get(first..end).unwrap_or_default();
    let agrees = |look: &Look| look.set.get(node).copied() == stamp;
    let mut parts: Vec<Span> = Vec::new();
    let mut open: Option<u64> = None;
    for look in during {
        match open {
            None if !agrees(look) => open = Some(look.told),
            Some(from) if agrees(look) => {
                let to = look.asked;
                parts.push(Span { from, to });
                open = None;
            }
            _ => {}
        }
    }
    let to = held.to;
    parts.extend(open.map(|from| Span { from, to }));
    parts.retain(|part| part.from < part.to);
    parts
}

#[cfg(test)]
mod tests {
    use super::super::super::mishap::{Mishap, Trouble, Whose};
    use super::super::fixture::{Fixture, at};
    use super::*;

    #[test]
    fn a_change_that_an_observer_never_hears_of_is_a_breach() {
        for observer in ["watch-1", "directory-1"] {
            let story = Fixture::whole().deaf(observer, 19_000).story();
            let breaches = reliable(&story);
            assert_eq!(breaches.len(), 1, "{breaches:?}");
            assert!(breaches[0].text.starts_with(observer), "{breaches:?}");
        }
    }

    #[test]
    fn a_missed_removal_is_a_breach_and_a_missed_return_too() {
        let removed = Fixture::whole().absent("b1", 30_000, 40_000);
        assert_eq!(
            reliable(&removed.clone().deaf("watch-1", 29_000).story()).len(),
            1
        );
        assert_eq!(
            reliable(&removed.clone().deaf("watch-1", 35_000).story()).len(),
            1
        );
        assert_eq!(reliable(&removed.story()), []);
    }

    #[test]
    fn a_change_that_comes_within_the_bound_is_none_and_after_it_is_one() {
        let late = |until| Fixture::whole().late("watch-1", 19_900, until).story();
        assert_eq!(reliable(&late(20_900)), []);
        let breaches = reliable(&late(21_300));
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].at > at(21_000), "{breaches:?}");
    }

    #[test]
    fn content_that_keeps_changing_hides_no_watch_that_stands_still() {
        let mut fixture = Fixture::whole();
        for turn in 2..20 {
            fixture = fixture.update("c1", 20_000 + 500 * turn, turn);
        }
        assert_eq!(reliable(&fixture.clone().story()), []);
        assert_eq!(reliable(&fixture.deaf("watch-1", 21_200).story()).len(), 1);
    }

    #[test]
    fn who_is_hindered_may_be_late_until_all_has_healed() {
        let held = Mishap::Network {
            whose: Whose::Watches,
            trouble: Trouble::Held,
            lasts: 12_000,
        };
        let fixture = Fixture::whole().mishap(held);
        let healed = fixture.clone().late("watch-1", 11_000, 23_900).story();
        assert_eq!(reliable(&healed), []);
        let never = fixture.clone().deaf("watch-1", 11_000).story();
        assert_eq!(reliable(&never).len(), 1);
        let other = fixture.late("directory-1", 11_000, 23_900).story();
        assert_eq!(reliable(&other).len(), 1);
    }
}
