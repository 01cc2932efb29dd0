//! The bounds that the fault table holds, as formulas of a few symbols.

use std::fmt;
use std::time::Duration;

/// The ttl of a record in most faults.
pub const T: Duration = Duration::from_secs(5);
/// The longest time between two renewals of such a record: a third of the ttl, and a tenth more.
pub const R: Duration = refresh(T);
/// The cap of every backoff.
pub const B: Duration = Duration::from_secs(5);
/// How long a peer that fell silent goes unnoticed: a ping after 6 s, 3 s for its answer.
pub const K: Duration = Duration::from_secs(9);
/// The time that scheduling, a connection and a write may take on a busy machine.
pub const EPSILON: Duration = Duration::from_secs(1);
/// Nothing at all.
pub const NONE: Duration = Duration::ZERO;

/// The longest time between two renewals of a record with this ttl.
#[must_use]
pub const fn refresh(ttl: Duration) -> Duration {
    Duration::from_micros((ttl.as_micros() as u64) * 11 / 30)
}

/// What a fault's measure may reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// The formula, as it stands in the code.
    pub formula: &'static str,
    /// Its value.
    pub limit: f64,
    /// The unit of the value and of what is measured.
    pub unit: &'static str,
}

impl Bound {
    /// Whether a measured value keeps the bound.
    #[must_use]
    pub fn holds(&self, measured: f64) -> bool {
        measured <= self.limit
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:.2} {}", self.formula, self.limit, self.unit)
    }
}

/// A [`Bound`] in seconds whose formula is the expression itself.
macro_rules! bound {
    ($($formula:tt)+) => {{
        let limit: std::time::Duration = $($formula)+;
        $crate::bounds::Bound {
            formula: stringify!($($formula)+),
            limit: limit.as_secs_f64(),
            unit: "s",
        }
    }};
}

pub(crate) use bound;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_prints_its_formula_and_its_value() {
        let bound = bound!(R + B + EPSILON);
        assert_eq!(bound.to_string(), "R + B + EPSILON = 7.83 s");
        assert!(bound.holds(7.8) && !bound.holds(7.9));
    }
}
