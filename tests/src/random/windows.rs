//! When what may be missing by right, and when who could not see.

use crate::bounds::EPSILON;

use super::mishap::{Mishap, NODES, Whose, node};
use super::story::{Happened, Story};

/// From one moment to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// From when.
    pub(super) from: u64,
    /// Until when.
    pub(super) to: u64,
}

impl Span {
    /// What is left of it without all of `others`.
    #[must_use]
    pub(super) fn without(self, others: &[Self]) -> Vec<Self> {
        let mut left = vec![self];
        for other in others {
            left = left
                .into_iter()
                .flat_map(|one| {
                    let before = Self {
                        to: one.to.min(other.from),
                        ..one
                    };
                    let after = Self {
                        from: one.from.max(other.to),
                        ..one
                    };
                    let cut = other.from < one.to && one.from < other.to;
                    let pieces = if cut { vec![before, after] } else { vec![one] };
                    pieces.into_iter().filter(|piece| piece.from < piece.to)
                })
                .collect();
        }
        left
    }
}

/// How much longer than half a ttl a process or a server that was to stand still for that may have
/// done so, in microseconds: it is a program that stops and continues them.
const TOLERANCE: u64 = 200_000;

/// When the record of a node may be missing.
///
/// * At once: after its owner was told to end, after the server forgot everything, after it was
///   deleted or its lease ended by hand.
/// * A ttl after the last renewal, which was an interval before at most: when its owner was dead,
///   stood still or was cut off, or the server could not be reached.
/// * Never: when owner or server stood still for half a ttl at most, when the owner was replaced at
///   once, or when a server that keeps its records was restarted, each of them alone.
///
/// The right ends when everything was seen to have healed.
#[must_use]
pub(super) fn by_right(story: &Story, name: &str) -> Vec<Span> {
    let writer = NODES.iter().find(|(_, node)| *node == name);
    let writer = writer.map(|(writer, _)| *writer);
    let mut spans = Vec::new();
    for round in rounds(story) {
        let to = healed(story, round);
        let at_once = round.iter().filter(|one| match one.mishap {
            Mishap::ServerWiped => true,
            Mishap::Deleted { writer, which } => node(writer, which) == name,
            Mishap::Terminated { writer: of, .. } | Mishap::LeaseEnded { writer: of, .. } => {
                writer == Some(of)
            }
            _ => false,
        });
        spans.extend(at_once.map(|one| Span {
            from: one.begun,
            to,
        }));
        let hindrances: Vec<&Happened> = round
            .iter()
            .filter(|one| match one.mishap {
                Mishap::ServerKilled { .. } | Mishap::ServerPaused { .. } => true,
                Mishap::Killed { .. }
                | Mishap::Replaced { .. }
                | Mishap::Stopped { .. }
                | Mishap::Network { .. } => one.mishap.writer() == writer,
                _ => false,
            })
            .collect();
        if let Some(from) = expiry(story, &hindrances).filter(|from| *from < to) {
            spans.push(Span { from, to });
        }
    }
    spans
}

/// When a record may expire whose renewals are hindered, if it may.
fn expiry(story: &Story, hindrances: &[&Happened]) -> Option<u64> {
    let begun = hindrances.iter().map(|one| one.begun).min()?;
    let over = |one: &&Happened| one.over.unwrap_or(story.ended);
    let lasted = hindrances.iter().map(over).max()?.saturating_sub(begun);
    let stands_still = |one: &&Happened| {
        matches!(
            one.mishap,
            Mishap::Stopped { .. } | Mishap::ServerPaused { .. }
        )
    };
    let is_harmless = match hindrances {
        [one] if matches!(one.mishap, Mishap::Replaced { .. }) => true,
        [one] if matches!(one.mishap, Mishap::ServerKilled { .. }) => story.keeps,
        all => all.iter().all(stands_still) && lasted <= story.ttl / 2 + TOLERANCE,
    };
    // The last renewal was an interval ago at most, and one that was due may have been late.
    let interval = story.ttl * 11 / 30;
    let late = EPSILON.as_micros() as u64;
    (!is_harmless).then(|| (begun + story.ttl).saturating_sub(interval + late))
}

/// When an observer may not have heard of what happened.
#[must_use]
pub(super) fn blind(story: &Story, observer: &str) -> Vec<Span> {
    let hinders = |mishap: &Mishap| match mishap {
        Mishap::Network { whose, .. } => match whose {
            Whose::Writer => false,
            Whose::Directories => observer.starts_with("directory"),
            Whose::Watches => is_proxied_watch(observer),
            Whose::Everybody => observer.starts_with("directory") || is_proxied_watch(observer),
        },
        other => other.is_of_server(),
    };
    let mishaps = story.mishaps.iter().filter(|one| hinders(&one.mishap));
    let span = |one: &Happened| Span {
        from: one.begun,
        to: one.healed.unwrap_or(story.ended),
    };
    mishaps.map(span).collect()
}

/// Name of the raw watch that no network hinders.
pub(super) const DIRECT: &str = "watch-direct";

fn is_proxied_watch(observer: &str) -> bool {
    observer.starts_with("watch") && observer != DIRECT
}

fn rounds(story: &Story) -> impl Iterator<Item = &[Happened]> {
    story.mishaps.chunk_by(|a, b| a.round == b.round)
}

fn healed(story: &Story, round: &[Happened]) -> u64 {
    let healed = round.iter().filter_map(|one| one.healed).max();
    healed.unwrap_or(story.ended)
}

#[cfg(test)]
mod tests {
    use super::super::validators::fixture::Fixture;
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn span(from: u64, to: u64) -> Span {
        Span { from, to }
    }

    #[test]
    fn a_span_without_others_is_what_is_left() {
        let whole = span(10, 20);
        assert_eq!(whole.without(&[]), [whole]);
        assert_eq!(whole.without(&[span(12, 14)]), [span(10, 12), span(14, 20)]);
        assert_eq!(whole.without(&[span(0, 12), span(18, 30)]), [span(12, 18)]);
        assert_eq!(whole.without(&[span(0, 30)]), []);
        assert_eq!(whole.without(&[span(20, 30), span(0, 10)]), [whole]);
    }

    #[test]
    fn what_is_removed_by_right_and_when() {
        let expired = Some(5 * SECOND - 5 * SECOND * 11 / 30 - SECOND);
        let (writer, which) = (0, 0);
        let long = 8000;
        for (mishap, node, expected) in [
            (Mishap::Deleted { writer, which }, "a1", Some(0)),
            (Mishap::Deleted { writer, which }, "a2", None),
            (Mishap::LeaseEnded { writer, which }, "a2", Some(0)),
            (Mishap::LeaseEnded { writer, which }, "b1", None),
            (Mishap::ServerWiped, "c2", Some(0)),
            (Mishap::Terminated { writer, lasts: 1 }, "a1", Some(0)),
            (
                Mishap::Killed {
                    writer,
                    lasts: long,
                },
                "a1",
                expired,
            ),
            (
                Mishap::Killed {
                    writer,
                    lasts: long,
                },
                "b1",
                None,
            ),
            (Mishap::Replaced { writer }, "a1", None),
            (
                Mishap::Stopped {
                    writer,
                    lasts: 2500,
                },
                "a1",
                None,
            ),
            (
                Mishap::Stopped {
                    writer,
                    lasts: long,
                },
                "a1",
                expired,
            ),
            (Mishap::ServerPaused { lasts: 2000 }, "b1", None),
            (Mishap::ServerPaused { lasts: long }, "b1", expired),
            (Mishap::ServerKilled { lasts: long }, "b1", None),
        ] {
            let story = Fixture::whole().mishap(mishap).story();
            let healed = story.mishaps[0].healed.expect("healed");
            let begun = story.mishaps[0].begun;
            let expected: Vec<Span> = expected
                .map(|after| span(begun + after, healed))
                .into_iter()
                .collect();
            assert_eq!(by_right(&story, node), expected, "{mishap} {node}");
        }
    }

    #[test]
    fn a_server_that_forgets_on_restart_removes_by_right() {
        let mut story = Fixture::whole()
            .mishap(Mishap::ServerKilled { lasts: 8000 })
            .story();
        story.keeps = false;
        assert_eq!(by_right(&story, "a1").len(), 1);
    }

    #[test]
    fn only_those_whose_connections_suffer_are_blind() {
        let suffers = |whose, observer| {
            let mishap = Mishap::Network {
                whose,
                trouble: super::super::mishap::Trouble::Held,
                lasts: 1000,
            };
            !blind(&Fixture::whole().mishap(mishap).story(), observer).is_empty()
        };
        assert!(suffers(Whose::Directories, "directory-1"));
        assert!(!suffers(Whose::Directories, "watch-1"));
        assert!(suffers(Whose::Watches, "watch-2"));
        assert!(suffers(Whose::Everybody, "watch-2"));
        assert!(!suffers(Whose::Everybody, DIRECT));
        assert!(!suffers(Whose::Writer, "directory-1"));
    }
}
