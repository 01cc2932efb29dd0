//! What is read: never nothing, never the same twice, and in the end the truth.

use std::collections::BTreeSet;

use super::super::story::{Heard, Story};
use super::Breach;

pub(super) fn served(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if story.reads.is_empty() {
        let text = "nobody read".to_owned();
        breaches.push(Breach { at: 0, text });
    }
    for (name, reads) in &story.reads {
        if reads.reads == 0 || reads.empty > 0 {
            breaches.push(Breach {
                at: story.ended,
                text: format!(
                    "{name}: {} of {} reads found nobody to call",
                    reads.empty, reads.reads
                ),
            });
        }
    }
    for (name, shown) in &story.directories {
        for shown in shown.iter().filter(|shown| shown.callable == 0) {
            let text = format!("{name} shows nobody to call");
            breaches.push(Breach { at: shown.at, text });
        }
    }
    breaches
}

pub(super) fn single(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for look in story.looks.iter().filter(|look| look.doubled) {
        let text = "a fresh lookup lists a node twice".to_owned();
        breaches.push(Breach {
            at: look.told,
            text,
        });
    }
    for (name, heard) in &story.watches {
        for (at, heard) in heard {
            let Heard::Snapshot(all) = heard else {
                continue;
            };
            let mut seen = BTreeSet::new();
            for told in all.iter().filter(|told| !seen.insert(&told.node)) {
                let text = format!("a snapshot of {name} lists {} twice", told.node);
                breaches.push(Breach { at: *at, text });
            }
        }
    }
    breaches
}

pub(super) fn same_in_the_end(story: &Story) -> Vec<Breach> {
    let Some((at, truth)) = &story.last else {
        let text = "there was no final read".to_owned();
        return vec![Breach {
            at: story.ended,
            text,
        }];
    };
    let mut breaches = Vec::new();
    for (name, sights) in &story.sights() {
        let last = sights.iter().rfind(|sight| sight.from <= *at);
        let seen = last.map(|sight| &sight.set);
        if seen != Some(truth) {
            breaches.push(Breach {
                at: *at,
                text: format!("{name} ends with {seen:?}, a fresh read says {truth:?}"),
            });
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::super::record::What;
    use super::super::fixture::{Fixture, at, stamp, told};
    use super::*;

    #[test]
    fn an_empty_read_is_a_breach() {
        let reads = What::Reads {
            reads: 200,
            empty: 1,
            slowest: 9,
        };
        let story = Fixture::whole().tell(5000, "directory-1", reads).story();
        assert_eq!(served(&story).len(), 1);
        let nobody = What::Shows {
            set: Default::default(),
            fallback: 0,
            live: false,
        };
        let story = Fixture::whole().tell(5000, "directory-1", nobody).story();
        assert_eq!(served(&story).len(), 1);
    }

    #[test]
    fn a_fallback_is_somebody_to_call() {
        let fallback = What::Shows {
            set: Default::default(),
            fallback: 6,
            live: true,
        };
        let story = Fixture::whole().tell(5000, "directory-1", fallback).story();
        assert_eq!(served(&story), []);
    }

    #[test]
    fn a_node_that_is_listed_twice_is_a_breach() {
        let looked = What::Looked {
            asked: at(5010),
            set: Fixture::set_of(0),
            doubled: true,
        };
        let story = Fixture::whole().tell(5015, "lookup", looked).story();
        assert_eq!(single(&story).len(), 1);
        let twice = vec![told("a1", Some(stamp("a1", 1))); 2];
        let snapshot = What::Snapshot { all: twice };
        let story = Fixture::whole().tell(5000, "watch-1", snapshot).story();
        assert_eq!(single(&story).len(), 1);
    }

    #[test]
    fn who_ends_with_something_else_is_a_breach() {
        for observer in ["watch-1", "directory-1"] {
            let story = Fixture::whole().deaf(observer, 19_000).story();
            let breaches = same_in_the_end(&story);
            assert_eq!(breaches.len(), 1, "{breaches:?}");
        }
    }

    #[test]
    fn without_a_final_read_nothing_is_proven() {
        let mut story = Fixture::whole().story();
        story.last = None;
        assert_eq!(same_in_the_end(&story).len(), 1);
    }
}
