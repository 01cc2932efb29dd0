//! The living are never missing, and the dead go.

use super::super::mishap::{Mishap, NODES};
use super::super::story::{Happened, Story};
use super::super::windows::{Span, by_right};
use super::Breach;

/// Every look without a node, and every observer that ceases to see one, must be explained by a
/// mishap that removes it [by right](by_right).
pub(super) fn kept(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (_, node) in NODES {
        let rights = by_right(story, node);
        let may_be_missing = |from, to| {
            let meets = |right: &Span| right.from <= to && from <= right.to;
            rights.iter().any(meets)
        };
        let missing = story
            .looks
            .iter()
            .filter(|look| !look.set.contains_key(node));
        let wrong = missing.filter(|look| !may_be_missing(look.asked, look.told));
        breaches.extend(wrong.map(|look| Breach {
            at: look.told,
            text: format!("a fresh lookup misses {node}, which nothing was to remove"),
        }));
        for (name, sights) in &story.sights() {
            let mut was_there = true;
            for sight in sights {
                let is_there = sight.set.contains_key(node);
                if was_there && !is_there && !may_be_missing(sight.from, sight.from) {
                    let text = format!("{name} ceases to see {node}, which nothing was to remove");
                    breaches.push(Breach {
                        at: sight.from,
                        text,
                    });
                }
                was_there = is_there;
            }
        }
    }
    breaches
}

/// A process that was killed alone in its round leaves no record behind.
pub(super) fn gone(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let alone = |one: &&Happened| {
        let of_round = story
            .mishaps
            .iter()
            .filter(|other| other.round == one.round);
        of_round.count() == 1
    };
    for one in story.mishaps.iter().filter(alone) {
        let (Mishap::Killed { writer, .. }, Some(over)) = (one.mishap, one.over) else {
            continue;
        };
        let from = one.begun + story.ttl + story.slack;
        let while_dead = |asked: u64, told: u64| asked >= from && told < over;
        let looks = story.looks.iter();
        for look in looks.filter(|look| while_dead(look.asked, look.told)) {
            let of_dead = NODES.iter().filter(|(owner, _)| *owner == writer);
            for (_, node) in of_dead.filter(|(_, node)| look.set.contains_key(*node)) {
                let text = format!("{node} is still told, and its process died long ago");
                breaches.push(Breach {
                    at: look.told,
                    text,
                });
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    const KILLED: Mishap = Mishap::Killed {
        writer: 0,
        lasts: 8000,
    };

    #[test]
    fn a_node_that_is_missing_without_a_reason_is_a_breach() {
        // Of a lookup, a watch and a directory: each of them.
        let story = Fixture::whole().absent("b1", 30_000, 30_150).story();
        let mut told: Vec<_> = kept(&story).into_iter().map(|one| one.text).collect();
        told.dedup();
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn a_removal_by_right_is_none_but_too_early_too_late_or_of_a_bystander_is_one() {
        let fixture = || Fixture::whole().mishap(KILLED);
        assert_eq!(kept(&fixture().absent("a2", 14_500, 18_500).story()), []);
        assert_ne!(kept(&fixture().absent("a2", 11_000, 18_500).story()), []);
        assert_ne!(kept(&fixture().absent("a2", 14_500, 21_500).story()), []);
        assert_ne!(kept(&fixture().absent("a2", 25_000, 26_000).story()), []);
        assert_ne!(kept(&fixture().absent("b1", 14_500, 18_500).story()), []);
    }

    #[test]
    fn a_process_that_stood_still_for_half_a_ttl_may_not_be_missing() {
        let (writer, lasts) = (0, 2500);
        let stopped = Fixture::whole().mishap(Mishap::Stopped { writer, lasts });
        assert_ne!(kept(&stopped.absent("a2", 13_000, 13_500).story()), []);
    }

    #[test]
    fn a_record_that_outlives_its_process_is_a_breach() {
        let story = Fixture::whole().mishap(KILLED).story();
        assert_ne!(gone(&story), []);
        let fixture = Fixture::whole().mishap(KILLED);
        let story = fixture
            .absent("a1", 15_000, 18_500)
            .absent("a2", 15_000, 18_500)
            .story();
        assert_eq!(gone(&story), []);
    }
}
