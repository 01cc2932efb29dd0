//! How many repeats the callers of one target may make together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{ConfigError, within};

/// Slots of a window, a second each.
const SLOTS: usize = 10;
/// How many of a million calls may be repeated, for a ratio of 1.
const MILLION: f64 = 1_000_000.0;
/// A slot's number is in the upper half of its word, what was counted in it in the lower.
const HALF: u32 = 32;

/// The repeats that a target may be given: a share of the calls of the last ten seconds, and a few a
/// second beside, so that a target with few calls has some too. By default 10 % and 3 a second.
///
/// What keeps an overload alive is the work that retries add to it; with a budget all the callers
/// of a process add a tenth at most. Clones share one account; there is no lock in it.
///
/// ```
/// use tokio::time::Instant;
/// use waypost_resilience::RetryBudget;
///
/// let budget = RetryBudget::new(0.1, 0.0).unwrap();
/// let now = Instant::now();
/// assert!(!budget.withdraw(now));
/// for _ in 0..10 {
///     budget.deposit(now);
/// }
/// assert!(budget.withdraw(now));
/// assert!(!budget.withdraw(now));
/// ```
#[derive(Debug, Clone)]
pub struct RetryBudget {
    account: Arc<Account>,
    /// What the account's slots are counted from.
    opened: Instant,
    /// Repeats for a million calls.
    per_million: u64,
    /// Repeats of a window whatever the calls.
    reserve: u64,
}

#[derive(Debug, Default)]
struct Account {
    calls: Window,
    repeats: Window,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::with(100_000, 30)
    }
}

impl RetryBudget {
    /// The length of the window.
    pub const WINDOW: Duration = Duration::from_secs(SLOTS as u64);

    /// Repeats for a share of the calls, 0 to 10 (1: as many as there are calls), and so many
    /// `per_second` beside.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a number that is negative, too large or none at all.
    pub fn new(ratio: f64, per_second: f64) -> Result<Self, ConfigError> {
        let ratio = within("retry ratio", ratio, (0.0, 10.0), "0 to 10")?;
        let rule = "0 to 1000000";
        let per_second = within("retries per second", per_second, (0.0, MILLION), rule)?;
        let reserve = per_second * Self::WINDOW.as_secs_f64();
        // Both are checked to be small and not negative.
        Ok(Self::with((ratio * MILLION).round() as u64, reserve as u64))
    }

    pub(super) fn with(per_million: u64, reserve: u64) -> Self {
        Self {
            account: Arc::default(),
            opened: Instant::now(),
            per_million,
            reserve,
        }
    }

    /// Counts a call. One atomic addition.
    pub fn deposit(&self, now: Instant) {
        self.account.calls.add(self.slot(now));
    }

    /// Draws a repeat, if there is one left. Of several who draw the last one in the same moment
    /// none may get it; more than there are never do.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        let slot = self.slot(now);
        self.account.repeats.add(slot);
        if self.account.repeats.sum(slot) <= self.allowed(slot) {
            return true;
        }
        self.account.repeats.take_back(slot);
        false
    }

    /// How many repeats are left, for a metric.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> u64 {
        let slot = self.slot(now);
        self.allowed(slot)
            .saturating_sub(self.account.repeats.sum(slot))
    }

    fn allowed(&self, slot: u32) -> u64 {
        let calls = self.account.calls.sum(slot);
        calls.saturating_mul(self.per_million) / 1_000_000 + self.reserve
    }

    /// Slots are numbered from 1, so that a ring of zeros is an empty one.
    fn slot(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.opened).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX - 1) + 1
    }
}

/// Counts of the last ten seconds, each slot with the number of its second.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

impl Window {
    fn ring(&self, slot: u32) -> &AtomicU64 {
        &self.0[slot as usize % SLOTS]
    }

    fn add(&self, slot: u32) {
        let ring = self.ring(slot);
        let mut seen = ring.load(Ordering::Relaxed);
        loop {
            let stands = (seen >> HALF) as u32;
            if stands >= slot {
                // Somebody may turn the slot over meanwhile: then this counts a second later.
                ring.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let fresh = u64::from(slot) << HALF | 1;
            let turned =
                ring.compare_exchange_weak(seen, fresh, Ordering::Relaxed, Ordering::Relaxed);
            match turned {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Undoes an [`add`](Self::add), unless its slot was turned over since.
    fn take_back(&self, slot: u32) {
        let undone = |seen: u64| {
            let is_ours = (seen >> HALF) as u32 == slot && seen as u32 > 0;
            is_ours.then(|| seen - 1)
        };
        // Without a change there is nothing to undo.
        let _ = self
            .ring(slot)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, undone);
    }

    fn sum(&self, slot: u32) -> u64 {
        let oldest = slot.saturating_sub(SLOTS as u32 - 1);
        let counts = self.0.iter().map(|ring| {
            let seen = ring.load(Ordering::Relaxed);
            let is_within = (seen >> HALF) as u32 >= oldest;
            if is_within { u64::from(seen as u32) } else { 0 }
        });
        counts.sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ratios_that_cannot_be_meant_are_refused() {
        for ratio in [f64::NAN, -0.1, 10.1, f64::INFINITY, f64::NEG_INFINITY] {
            let error = RetryBudget::new(ratio, 3.0).expect_err("ratio");
            assert_eq!((error.name(), error.rule()), ("retry ratio", "0 to 10"));
        }
        for per_second in [f64::NAN, -1.0, 1e7, f64::INFINITY] {
            let error = RetryBudget::new(0.1, per_second).expect_err("rate");
            assert_eq!(error.name(), "retries per second");
        }
    }

    fn drawn(budget: &RetryBudget, now: Instant) -> u64 {
        (0..).take_while(|_| budget.withdraw(now)).count() as u64
    }

    #[test]
    fn the_default_is_a_tenth_of_the_calls_and_three_a_second() {
        let budget = RetryBudget::default();
        let begun = Instant::now();
        assert_eq!(budget.remaining(begun), 30);
        for _ in 0..1_000 {
            budget.deposit(begun);
        }
        assert_eq!(budget.remaining(begun), 130);
        assert_eq!(drawn(&budget, begun), 130);
        assert_eq!(budget.remaining(begun), 0);
        // Calls and repeats leave the window together.
        let later = begun + RetryBudget::WINDOW - Duration::from_secs(1);
        assert_eq!(budget.remaining(later), 0);
        assert_eq!(budget.remaining(begun + RetryBudget::WINDOW), 30);
    }

    #[test]
    fn clones_share_one_account() {
        let budget = RetryBudget::new(0.0, 1.0).expect("allowed");
        let now = Instant::now();
        assert_eq!(drawn(&budget.clone(), now), 10);
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn threads_together_never_draw_more_than_there_is() {
        let budget = RetryBudget::new(0.1, 100.0).expect("allowed");
        let now = Instant::now();
        let drawn = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        budget.deposit(now);
                        let got = u64::from(budget.withdraw(now));
                        drawn.fetch_add(got, Ordering::Relaxed);
                    }
                });
            }
        });
        let drawn = drawn.into_inner();
        // 20 000 calls are counted, none lost, and what was not drawn is still there.
        assert_eq!(budget.remaining(now) + drawn, 3_000);
    }

    proptest! {
        /// Against a list of moments: what is left is what the last ten seconds allow.
        #[test]
        fn it_counts_what_a_list_of_moments_counts(
            steps in proptest::collection::vec((0_u64..4_000, any::<bool>()), 1..400),
            per_mille in 0_u64..2_000,
            reserve in 0_u64..4,
        ) {
            let ratio = per_mille as f64 / 1_000.0;
            let budget = RetryBudget::new(ratio, reserve as f64).expect("allowed");
            let (mut calls, mut repeats) = (Vec::new(), Vec::new());
            let mut millis = 0;
            for (pause, is_call) in steps {
                millis += pause / 10;
                let now = budget.opened + Duration::from_millis(millis);
                let second = millis / 1_000;
                let within = |seconds: &[u64]| {
                    seconds.iter().filter(|then| **then + 10 > second).count() as u64
                };
                let allowed = within(&calls) * per_mille / 1_000 + reserve * 10;
                let left = allowed.saturating_sub(within(&repeats));
                prop_assert_eq!(budget.remaining(now), left);
                if is_call {
                    budget.deposit(now);
                    calls.push(second);
                } else {
                    prop_assert_eq!(budget.withdraw(now), left > 0);
                    if left > 0 {
                        repeats.push(second);
                    }
                }
            }
        }
    }
}
