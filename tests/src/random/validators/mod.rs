//! What must hold of a finished history. Each validator is a pure function of it.

mod leaks;
mod numbers;
mod presence;
mod promptness;
mod reads;
mod watches;

#[cfg(test)]
pub(super) mod fixture;

use std::fmt;

use super::story::Story;

/// A place in the history where a law is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// When.
    pub at: u64,
    /// What happened there.
    pub text: String,
}

/// A law of the history.
#[derive(Clone, Copy)]
pub struct Validator {
    /// Its name.
    pub name: &'static str,
    /// What must hold, as a sentence.
    pub law: &'static str,
    /// Finds where it does not.
    pub check: fn(&Story) -> Vec<Breach>,
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub const VALIDATORS: &[Validator] = &[
    Validator {
        name: "filtered",
        law: "a watch is told of its own service only, and of nodes that somebody registered",
        check: watches::filtered,
    },
    Validator {
        name: "ordered",
        law: "no observer sees a record go back to earlier content, and revisions only grow",
        check: watches::ordered,
    },
    Validator {
        name: "unique",
        law: "a watch tells no event twice, and a server numbers no change twice",
        check: watches::unique,
    },
    Validator {
        name: "resumable",
        law: "the snapshot that follows an error accounts for everything missed",
        check: watches::resumable,
    },
    Validator {
        name: "reliable",
        law: "nobody misses a change that a fresh lookup proves for longer than the bound",
        check: promptness::reliable,
    },
    Validator {
        name: "complete",
        law: "a watch that nobody hinders is told every change that the server numbers",
        check: numbers::complete,
    },
    Validator {
        name: "kept",
        law: "a node whose process lives and whose server can be reached is never missing",
        check: presence::kept,
    },
    Validator {
        name: "gone",
        law: "a dead process's record is gone after its ttl and the server's slack",
        check: presence::gone,
    },
    Validator {
        name: "served",
        law: "no read fails or finds nobody to call",
        check: reads::served,
    },
    Validator {
        name: "single",
        law: "an id never has two records",
        check: reads::single,
    },
    Validator {
        name: "final",
        law: "in the end everybody sees what a fresh read says",
        check: reads::same_in_the_end,
    },
    Validator {
        name: "leaks",
        law: "memory and descriptors end where they began",
        check: leaks::leaks,
    },
];

#[cfg(test)]
mod tests {
    use super::super::mishap::{Mishap, Trouble, Whose};
    use super::fixture::Fixture;
    use super::*;

    #[test]
    fn a_history_in_which_all_is_well_satisfies_every_validator() {
        let (writer, which, lasts) = (0, 0, 8000);
        let killed = Mishap::Killed { writer, lasts };
        let deleted = Mishap::Deleted { writer, which };
        let cut = Mishap::Network {
            whose: Whose::Watches,
            trouble: Trouble::Cut(1),
            lasts,
        };
        let fixtures = [
            Fixture::whole(),
            Fixture::whole()
                .mishap(killed)
                .absent("a1", 15_000, 18_500)
                .absent("a2", 15_100, 18_600),
            Fixture::whole()
                .mishap(deleted)
                .absent("a1", 10_100, 10_600),
            Fixture::whole().mishap(cut).late("watch-1", 10_500, 18_200),
        ];
        for (place, fixture) in fixtures.into_iter().enumerate() {
            let story = fixture.story();
            for validator in VALIDATORS {
                let breaches = (validator.check)(&story);
                assert_eq!(breaches, [], "{place} {validator:?}");
            }
        }
    }

    #[test]
    fn an_empty_history_satisfies_nobody_who_needs_proof() {
        let story = Story::default();
        for name in ["served", "final", "leaks", "reliable"] {
            let validator = VALIDATORS.iter().find(|one| one.name == name);
            let check = validator.expect(name).check;
            assert_ne!(check(&story), [], "{name}");
        }
    }
}
