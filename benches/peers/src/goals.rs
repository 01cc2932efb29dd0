//! What is wanted of picks, each as a ratio or a bound.

use waypost_figures::Goal;

use crate::floor;
use crate::moved::{self, Moved};
use crate::ours;
use crate::peers;
use crate::rebuild::{self, Rebuilt};
use crate::report::{Size, min_of};

/// Above this difference of the floor from itself, figures say nothing.
const MOST_SPREAD: f64 = 0.15;

/// Why the figures of these sizes cannot be judged, if so: the floor stands twice in each turn.
fn doubt(sizes: &[Size]) -> Option<String> {
    let spread = |size: &Size| {
        let one = min_of(&size.alone, floor::FLOOR);
        let other = min_of(&size.alone, floor::AGAIN);
        (one - other).abs() / one.min(other)
    };
    let worst = sizes.iter().map(spread).fold(0.0, f64::max);
    (worst > MOST_SPREAD)
        .then(|| format!("the floor differs from itself by {:.0} %", worst * 100.0))
}

/// A figure for each of `names` at each size.
fn each(sizes: &[Size], names: &[&str], figure: impl Fn(&Size, &str) -> f64) -> Vec<(String, f64)> {
    let of = |size: &Size| -> Vec<(String, f64)> {
        let named = names.iter();
        named
            .map(|name| (format!("{name}, {} nodes", size.nodes), figure(size, name)))
            .collect()
    };
    sizes.iter().flat_map(of).collect()
}

pub(crate) fn of(sizes: &[Size], rebuilt: &[Rebuilt], moved: &[Moved]) -> Vec<Goal> {
    let doubt = doubt(sizes);
    let goal = |name: &str, most, figures| Goal {
        name: name.to_owned(),
        figures,
        most,
        doubt: doubt.clone(),
    };
    let mut free = ours::STATIC.to_vec();
    free.push(ours::HASH);
    let over_floor =
        |size: &Size, name: &str| min_of(&size.alone, name) / min_of(&size.alone, floor::FLOOR);
    let least = |size: &Size, name: &str| min_of(&size.alone, name);
    let largest = |name: &&str| {
        let at = |size: Option<&Size>| size.map_or(f64::NAN, |size| least(size, name));
        ((*name).to_owned(), at(sizes.last()) / at(sizes.first()))
    };
    let allocations = |size: &Size, name: &str| {
        let found = size.alone.iter().find(|one| one.name == name);
        found.map_or(f64::NAN, |one| one.allocations)
    };
    let two = |size: &Size, name: &str| min_of(&size.together, name);
    let all: Vec<&str> = free.iter().chain(&ours::TOLD).copied().collect();
    vec![
        goal(
            "static strategies: times the floor",
            2.0,
            each(sizes, &ours::STATIC, over_floor),
        ),
        goal(
            "static strategies: 10 000 nodes, times 10 nodes",
            2.0,
            ours::STATIC.iter().map(largest).collect(),
        ),
        Goal {
            doubt: None,
            ..goal("allocations a pick", 0.0, each(sizes, &all, allocations))
        },
        goal("told of success: ns", 60.0, each(sizes, &ours::TOLD, least)),
        goal(
            "told of success, two threads: ns",
            60.0,
            each(sizes, &ours::TOLD, two),
        ),
        goal(
            "told of success: times tower PeakEwma",
            0.125,
            each(sizes, &ours::TOLD, |size, name| {
                least(size, name) / least(size, peers::TOWER_EWMA)
            }),
        ),
        goal(
            "without counters, two threads: times one",
            1.3,
            each(sizes, &free, |size, name| {
                two(size, name) / least(size, name)
            }),
        ),
        goal(
            "by key: times a look into a table of that size",
            2.0,
            each(sizes, &[ours::HASH], |size, name| {
                least(size, name) / least(size, floor::TABLE)
            }),
        ),
        goal(
            "random: times volo WeightedRandom",
            1.0,
            each(sizes, &[ours::RANDOM], |size, name| {
                least(size, name) / least(size, peers::VOLO_WEIGHTED)
            }),
        ),
        Goal {
            doubt: None,
            ..goal(
                "keys moved when one of N leaves: times 1/N",
                1.3,
                moved_by_us(moved),
            )
        },
        goal(
            "rebuild by key: times volo ConsistentHash",
            1.0 / 3.0,
            rebuilt_by_us(rebuilt),
        ),
    ]
}

fn moved_by_us(moved: &[Moved]) -> Vec<(String, f64)> {
    let ours = moved.iter().filter(|one| one.name == moved::OURS);
    ours.map(|one| (format!("{} nodes", one.nodes), one.part * one.nodes as f64))
        .collect()
}

fn rebuilt_by_us(rebuilt: &[Rebuilt]) -> Vec<(String, f64)> {
    let largest = rebuilt.iter().map(|one| one.nodes).max();
    let of = |name: &str| {
        let found = rebuilt
            .iter()
            .find(|one| one.name == name && Some(one.nodes) == largest);
        found.map_or(f64::NAN, |one| one.cpu.min())
    };
    vec![(
        "the most nodes".to_owned(),
        of(rebuild::HASH) / of(rebuild::VOLO_HASH),
    )]
}
