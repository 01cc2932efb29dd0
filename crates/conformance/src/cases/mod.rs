//! The cases, by what they look at.

mod converging;
mod costing;
mod failing;
mod following;
mod keeping;
mod living;
mod owning;
mod persisting;
mod reading;
mod records;
mod watching;
mod writing;

use std::sync::OnceLock;

use crate::Case;

/// Makes the table of a file: the law, the invariants, the function whose name is the case's.
macro_rules! table {
    ($($function:ident $invariants:tt $law:literal)+) => {
        pub(super) const CASES: &[$crate::Case] = &[$(
            $crate::Case::new(stringify!($function), $law, &$invariants, |context| {
                Box::pin(async move { $crate::check::conclude($function(&context).await) })
            })
        ),+];
    };
}
use table;

/// All cases, in a fixed order; the same for every registry.
#[must_use]
pub fn cases() -> &'static [Case] {
    static ALL: OnceLock<Vec<Case>> = OnceLock::new();
    ALL.get_or_init(|| {
        [
            reading::CASES,
            writing::CASES,
            living::CASES,
            owning::CASES,
            records::CASES,
            watching::CASES,
            converging::CASES,
            costing::CASES,
            keeping::CASES,
            persisting::CASES,
            following::CASES,
            failing::CASES,
        ]
        .concat()
    })
}
