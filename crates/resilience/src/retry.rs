//! Whether, and when, a call is tried again.

mod attempts;
mod backoff;
mod budget;
mod policy;
mod pushback;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use attempts::{Attempts, Rules, Verdict, Why};
pub use backoff::{Backoff, FullJitter, MicroBackoff, Upcoming};
pub use budget::RetryBudget;
pub use policy::{
    CallInfo, Decision, Outcome, RetryAlways, RetryNever, RetryOnError, RetryPolicy, RetrySafe,
    Sent,
};
pub use pushback::Pushback;

use crate::config::{ConfigError, positive, within};

/// The most further tries that a caller may ask for.
const MOST_RETRIES: u32 = 100;

/// How a caller tries again: the policy, the backoff, how often, and how long one try may take.
///
/// Two further tries by [`RetrySafe`] with [`FullJitter`] unless told otherwise. Clones share the
/// policy and the backoff.
#[derive(Clone)]
pub struct Retry {
    policy: Arc<dyn RetryPolicy>,
    backoff: Arc<dyn Backoff>,
    retries: u32,
    attempt: AttemptTimeout,
    after_retry: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            policy: Arc::new(RetrySafe),
            backoff: Arc::new(FullJitter::default()),
            retries: 2,
            attempt: AttemptTimeout::default(),
            after_retry: false,
        }
    }
}

impl Retry {
    /// Sets what is tried again.
    #[must_use]
    pub fn with_policy(mut self, policy: impl RetryPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Sets the waits before tries.
    #[must_use]
    pub fn with_backoff(mut self, backoff: impl Backoff) -> Self {
        self.backoff = Arc::new(backoff);
        self
    }

    /// Sets how many further tries a call has after its first.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] above 100.
    pub fn with_retries(mut self, retries: u32) -> Result<Self, ConfigError> {
        if retries > MOST_RETRIES {
            return Err(ConfigError::new("retries", retries, "0 to 100"));
        }
        self.retries = retries;
        Ok(self)
    }

    /// Sets how long one try may take.
    #[must_use]
    pub fn with_attempt_timeout(mut self, attempt: AttemptTimeout) -> Self {
        self.attempt = attempt;
        self
    }

    /// Whether a call made on behalf of one that is itself a repeat may be repeated. By default it
    /// is not: over five layers two tries each are 32 calls.
    #[must_use]
    pub fn with_retry_after_retry(mut self, yes: bool) -> Self {
        self.after_retry = yes;
        self
    }

    /// How many further tries a call has after its first.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// How long one try may take.
    #[must_use]
    pub fn attempt_timeout(&self) -> AttemptTimeout {
        self.attempt
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retries", &self.retries)
            .field("attempt", &self.attempt)
            .field("after_retry", &self.after_retry)
            .finish_non_exhaustive()
    }
}

/// How long one try may take: a share of what is left of the call, up to a limit; by default half,
/// up to one second.
///
/// Half, so that a try which hangs leaves time for another. The last try a call has, by its policy
/// or its number, has nobody to leave time for and takes all that is left.
///
/// ```
/// use std::time::Duration;
/// use waypost_resilience::AttemptTimeout;
///
/// let rule = AttemptTimeout::default();
/// assert_eq!(rule.limit(Duration::from_secs(5), false), Duration::from_secs(1));
/// assert_eq!(rule.limit(Duration::from_millis(300), false), Duration::from_millis(150));
/// assert_eq!(rule.limit(Duration::from_secs(3), true), Duration::from_secs(3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttemptTimeout {
    most: Duration,
    share: f64,
}

impl Default for AttemptTimeout {
    fn default() -> Self {
        Self {
            most: Duration::from_secs(1),
            share: 0.5,
        }
    }
}

impl AttemptTimeout {
    /// A `share` of what is left, at most `most`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a `most` of nothing, and a share that is not more than 0 and at most 1.
    pub fn new(most: Duration, share: f64) -> Result<Self, ConfigError> {
        const RULE: &str = "more than 0 and at most 1";
        let most = positive("attempt timeout", most)?;
        let share = within("attempt share", share, (f64::MIN_POSITIVE, 1.0), RULE)?;
        Ok(Self { most, share })
    }

    /// How long a try may take of a call that has `left`; `last` when no other can follow it.
    #[must_use]
    pub fn limit(self, left: Duration, last: bool) -> Duration {
        if last {
            return left;
        }
        // `Duration::mul_f64` takes as long as looking at a clock; 584 years do here.
        let nanoseconds = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let share = Duration::from_nanos((nanoseconds as f64 * self.share) as u64);
        self.most.min(share).min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_meant_are_refused_by_name() {
        for retries in [101, 1_000_000, u32::MAX] {
            let error = Retry::default()
                .with_retries(retries)
                .expect_err("too many");
            assert_eq!((error.name(), error.rule()), ("retries", "0 to 100"));
            assert_eq!(error.value(), retries.to_string());
        }
        for retries in [0, 100] {
            let retry = Retry::default().with_retries(retries).expect("allowed");
            assert_eq!(retry.retries(), retries);
        }
        for share in [f64::NAN, -1.0, -0.0, 0.0, 1.1, f64::INFINITY] {
            let error = AttemptTimeout::new(Duration::from_secs(1), share).expect_err("share");
            assert_eq!(error.name(), "attempt share");
        }
        let error = AttemptTimeout::new(Duration::ZERO, 0.5).expect_err("nothing");
        assert_eq!(
            error.to_string(),
            "attempt timeout is 0s: it must be longer than nothing"
        );
    }

    #[test]
    fn a_try_never_has_more_than_is_left() {
        for rule in [
            AttemptTimeout::default(),
            AttemptTimeout::new(Duration::MAX, 1.0).expect("allowed"),
        ] {
            for left in [
                Duration::ZERO,
                Duration::from_nanos(1),
                Duration::from_secs(9),
            ] {
                assert!(rule.limit(left, false) <= left);
                assert_eq!(rule.limit(left, true), left);
            }
        }
    }
}
