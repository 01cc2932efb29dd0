//! The table of cases is whole.

use std::collections::BTreeSet;

use waypost_conformance::cases;

#[test]
fn every_invariant_has_a_case() {
    let guarded: BTreeSet<&str> = cases()
        .iter()
        .flat_map(|case| case.invariants)
        .copied()
        .collect();
    let promised =
        |letter: char, most: u8| (1..=most).map(move |number| format!("{letter}{number}"));
    let all: BTreeSet<String> = promised('L', 8)
        .chain(promised('W', 7))
        .chain(promised('S', 6))
        .collect();
    assert_eq!(guarded, all.iter().map(String::as_str).collect());
}

#[test]
fn names_are_different_and_laws_are_sentences() {
    let names: BTreeSet<&str> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases().len());
    for case in cases() {
        assert!(
            case.law.ends_with('.') && case.law.starts_with(char::is_uppercase),
            "{}",
            case.law
        );
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(case.name.chars().all(plain), "{}", case.name);
    }
}
