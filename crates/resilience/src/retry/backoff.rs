//! How long to wait before a try.

use std::time::Duration;

use super::CallInfo;
use crate::config::{ConfigError, positive};

/// The try that is coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upcoming {
    /// Its number: 0 is the first try of the call.
    pub attempt: u32,
    /// Whether it goes to a node that this call has not tried yet.
    pub fresh_node: bool,
    /// The longest wait after which it could still start.
    pub most: Duration,
}

impl Upcoming {
    /// The try number `attempt`, which may wait for `most`.
    #[must_use]
    pub fn new(attempt: u32, fresh_node: bool, most: Duration) -> Self {
        Self {
            attempt,
            fresh_node,
            most,
        }
    }
}

/// Says how long to wait before a try. It is asked before every one, the first too. A closure of
/// [`wait`](Self::wait)'s shape is one.
///
/// A wait that is longer than [`Upcoming::most`] ends the call at once: the try after it could not
/// start.
///
/// ```
/// use std::time::Duration;
/// use waypost_resilience::{CallInfo, Retry, Upcoming};
///
/// let steady = |_: &CallInfo<'_>, coming: &Upcoming| match coming.attempt {
///     0 => Duration::ZERO,
///     _ => Duration::from_millis(50).min(coming.most),
/// };
/// let retry = Retry::default().with_backoff(steady);
/// # drop(retry);
/// ```
pub trait Backoff: Send + Sync + 'static {
    /// How long to wait before the `coming` try of `call`.
    fn wait(&self, call: &CallInfo<'_>, coming: &Upcoming) -> Duration;
}

impl<F> Backoff for F
where
    F: Fn(&CallInfo<'_>, &Upcoming) -> Duration + Send + Sync + 'static,
{
    fn wait(&self, call: &CallInfo<'_>, coming: &Upcoming) -> Duration {
        self(call, coming)
    }
}

/// No wait before the first try, nor before the second if it goes to another node; then any time
/// up to 25 ms, 50 ms, 100 ms and so on to 1 s, and never beyond what is left. The default.
///
/// "Full jitter": what many callers lost in the same moment does not come back in the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullJitter {
    base: Duration,
    cap: Duration,
}

impl Default for FullJitter {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25),
            cap: Duration::from_secs(1),
        }
    }
}

impl FullJitter {
    /// Waits up to `base`, doubled with each try, up to `cap`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a base of nothing, and a cap below the base.
    pub fn new(base: Duration, cap: Duration) -> Result<Self, ConfigError> {
        let base = positive("backoff base", base)?;
        if cap < base {
            let cap = format_args!("{cap:?}").to_string();
            return Err(ConfigError::new("backoff cap", cap, "at least the base"));
        }
        Ok(Self { base, cap })
    }
}

impl Backoff for FullJitter {
    fn wait(&self, _: &CallInfo<'_>, coming: &Upcoming) -> Duration {
        let doublings = match coming.attempt {
            0 => return Duration::ZERO,
            1 if coming.fresh_node => return Duration::ZERO,
            attempt => attempt - 1,
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let most = self.base.saturating_mul(factor);
        let most = most.min(self.cap).min(coming.most);
        let nanoseconds = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(fastrand::u64(0..=nanoseconds))
    }
}

/// go-micro's own: the number of the try to the power of *e*, times 100 ms, the same for everybody:
/// 0, 0.1, 0.6, 1.9, 4.3, 7.9 s and so on, 120 s from the 14th.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MicroBackoff;

impl Backoff for MicroBackoff {
    fn wait(&self, _: &CallInfo<'_>, coming: &Upcoming) -> Duration {
        if coming.attempt > 13 {
            return Duration::from_secs(120);
        }
        let power = f64::from(coming.attempt).powf(std::f64::consts::E);
        // 13 to the power of e is 1066: it fits, and Go cuts the fraction off too.
        Duration::from_millis(100) * (power as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallInfo<'_> = CallInfo {
        service: "greeter",
        endpoint: "hello",
        idempotent: true,
    };

    fn longest(attempt: u32, fresh_node: bool, most: Duration) -> Duration {
        let coming = Upcoming::new(attempt, fresh_node, most);
        let waits = (0..2_000).map(|_| FullJitter::default().wait(&CALL, &coming));
        waits.max().expect("some")
    }

    #[test]
    fn jitter_is_full_doubles_and_ends_at_its_cap() {
        let ample = Duration::from_secs(60);
        for fresh in [true, false] {
            assert_eq!(longest(0, fresh, ample), Duration::ZERO);
        }
        assert_eq!(longest(1, true, ample), Duration::ZERO);
        let rows = [
            (1, 25),
            (2, 50),
            (3, 100),
            (6, 800),
            (7, 1_000),
            (200, 1_000),
            (u32::MAX, 1_000),
        ];
        for (attempt, millis) in rows {
            let bound = Duration::from_millis(millis);
            let longest = longest(attempt, false, ample);
            // The largest of 2000 draws is in the upper tenth: 0.9^2000 is 10^-92.
            assert!(
                longest <= bound && longest > bound * 9 / 10,
                "{attempt}: {longest:?}"
            );
        }
    }

    #[test]
    fn jitter_never_goes_beyond_what_is_left() {
        let left = Duration::from_millis(3);
        assert!(longest(7, false, left) <= left);
        assert_eq!(longest(7, false, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn jitter_is_checked() {
        let (one, two) = (Duration::from_millis(1), Duration::from_millis(2));
        let error = FullJitter::new(Duration::ZERO, one).expect_err("no base");
        assert_eq!(error.name(), "backoff base");
        let error = FullJitter::new(two, one).expect_err("cap below base");
        assert_eq!(
            error.to_string(),
            "backoff cap is 1ms: it must be at least the base"
        );
        assert!(FullJitter::new(one, one).is_ok());
    }

    #[test]
    fn micro_backoff_is_go_micros_to_the_tenth() {
        let tenths = [0, 1, 6, 19, 43, 79, 130, 198];
        for (attempt, tenth) in (0..).zip(tenths) {
            let coming = Upcoming::new(attempt, true, Duration::MAX);
            assert_eq!(
                MicroBackoff.wait(&CALL, &coming),
                Duration::from_millis(100) * tenth
            );
        }
        for attempt in [14, u32::MAX] {
            let coming = Upcoming::new(attempt, true, Duration::MAX);
            assert_eq!(MicroBackoff.wait(&CALL, &coming), Duration::from_secs(120));
        }
    }
}
