//! What a server's own numbers prove: a watch that nobody hinders is told of every change.

use super::super::mishap::NODES;
use super::super::record::Stamp;
use super::super::story::{Epoch, Heard, Story};
use super::super::windows::DIRECT;
use super::Breach;

/// What a node's record held, one content after the other.
type Course = Vec<Option<Stamp>>;

/// Most changes with which a watch may precede the reader of the numbers when a server that forgot
/// everything begins anew: each of them reads all there is first, and the changes afterwards.
const AHEAD: usize = 4;

/// Holds what the direct watch was told, from each snapshot to its end, against the numbered
/// changes of the record: it is a piece of them without a gap.
pub(super) fn complete(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let Some(heard) = story.watches.get(DIRECT) else {
        return breaches;
    };
    if story.epochs.is_empty() {
        return breaches;
    }
    let is_end = |(_, heard): &(u64, Heard)| matches!(heard, Heard::Ended);
    for session in heard.split(is_end).filter(|session| !session.is_empty()) {
        for (_, node) in NODES {
            let told = course(session.iter().flat_map(|(_, heard)| changes(heard)), node);
            let fits = |epoch: &Epoch| fits(&told, &numbered(epoch, node));
            if !told.is_empty() && !story.epochs.iter().any(fits) {
                let at = session.last().map_or(0, |(at, _)| *at);
                let text = format!(
                    "{DIRECT} is told {told:?} of {node}, which are not all the changes in between"
                );
                breaches.push(Breach { at, text });
            }
        }
    }
    breaches
}

fn changes(heard: &Heard) -> impl Iterator<Item = (&str, Option<Stamp>)> {
    let all = match heard {
        Heard::Changed(changes) => &changes[..],
        _ => &[],
    };
    all.iter().map(|told| (told.node.as_str(), told.stamp))
}

fn numbered(epoch: &Epoch, node: &str) -> Course {
    let changes = epoch.changes.iter();
    course(
        changes.map(|(_, _, told)| (told.node.as_str(), told.stamp)),
        node,
    )
}

/// The changes of a node; what is written again unchanged is none.
fn course<'a>(changes: impl Iterator<Item = (&'a str, Option<Stamp>)>, node: &str) -> Course {
    let of_node = changes.filter(|(name, _)| *name == node);
    let mut course: Course = of_node.map(|(_, stamp)| stamp).collect();
    course.dedup();
    course
}

/// Whether what was told is a piece of what was numbered, but for what it was told ahead.
fn fits(told: &Course, numbered: &Course) -> bool {
    let piece = |told: &[Option<Stamp>]| {
        told.is_empty() || numbered.windows(told.len()).any(|piece| piece == told)
    };
    let is_ahead = |stamp: &Option<Stamp>| stamp.is_none() || !numbered.contains(stamp);
    let after = |ahead: usize| {
        let (ahead, rest) = told.split_at(ahead);
        ahead.iter().all(is_ahead) && numbered.starts_with(rest)
    };
    piece(told) || (0..=AHEAD.min(told.len())).any(after)
}

#[cfg(test)]
mod tests {
    use super::super::super::record::What;
    use super::super::fixture::{Fixture, stamp, told};
    use super::*;

    fn story(numbered: &[u64], told_to_watch: &[u64]) -> Story {
        let content = |turn: u64| (turn > 0).then(|| stamp("b1", turn));
        let mut fixture = Fixture::whole().tell(10, DIRECT, What::Opening).tell(
            20,
            DIRECT,
            What::Snapshot { all: Vec::new() },
        );
        for (place, turn) in numbered.iter().enumerate() {
            let change = told("b1", content(*turn));
            let revision = place as i64;
            let what = What::Numbered { revision, change };
            fixture = fixture.tell(1000 + place as u64, "numbers", what);
        }
        for (place, turn) in told_to_watch.iter().enumerate() {
            let changes = vec![told("b1", content(*turn))];
            let what = What::Changed { changes };
            fixture = fixture.tell(1000 + place as u64, DIRECT, what);
        }
        fixture.story()
    }

    #[test]
    fn a_change_that_is_left_out_or_out_of_order_is_a_breach() {
        let numbered = [1, 2, 0, 3, 4, 5];
        for good in [&[1, 2, 0, 3, 4, 5][..], &[2, 0, 3], &[4, 5], &[]] {
            assert_eq!(complete(&story(&numbered, good)), [], "{good:?}");
        }
        for bad in [&[1, 2, 3, 4][..], &[2, 0, 4], &[2, 1], &[3, 5], &[4, 5, 9]] {
            assert_eq!(complete(&story(&numbered, bad)).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn a_record_that_was_written_again_unchanged_is_told_once() {
        assert_eq!(complete(&story(&[1, 1, 2, 2, 2], &[1, 2])), []);
    }

    #[test]
    fn a_watch_may_know_more_of_a_new_server_than_the_numbers_do() {
        assert_eq!(complete(&story(&[3, 4, 5], &[1, 2, 3, 4])), []);
        assert_eq!(complete(&story(&[3, 4, 5], &[1, 2, 3, 5])).len(), 1);
    }
}
