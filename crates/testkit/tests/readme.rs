//! What plugins/README.md shows is what is compiled and run here.

use std::collections::BTreeSet;

use waypost_testkit::cases;

const README: &str = include_str!("../../../plugins/README.md");

#[test]
fn the_shown_conformance_test_is_the_one_that_runs() {
    let shown = README
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let runs = include_str!("third_party.rs");
    assert_eq!(
        shown.filter(|block| *block == runs).count(),
        1,
        "not shown verbatim:\n{runs}"
    );
}

#[test]
fn the_shown_invariants_are_those_of_the_cases() {
    let rows = README
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let shown: BTreeSet<&str> = rows.filter(|name| is_invariant(name)).collect();
    let guarded = cases()
        .iter()
        .flat_map(|case| case.invariants)
        .copied()
        .collect();
    assert_eq!(shown, guarded);
}

fn is_invariant(name: &str) -> bool {
    name.strip_prefix(['L', 'W', 'S'])
        .is_some_and(|number| number.parse::<u8>().is_ok())
}
