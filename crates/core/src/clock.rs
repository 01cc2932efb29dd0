//! Time in the house: slots that beats share, and backoff with jitter.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;

/// Beats of one process are aligned to slots of this length, so that hundreds of renewals leave in
/// one batch: 1 000 beats a second sent singly cost a tenth of a core, in slots well under a
/// hundredth.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

/// The first slot of this process. Processes start at different moments, hence their slots differ.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// The slot at or before `at`, but never before `now`.
pub(crate) fn slot(at: Instant, now: Instant) -> Instant {
    let origin = origin();
    let since = at.saturating_duration_since(origin);
    let into = since.as_nanos() % SLOT.as_nanos();
    let into = Duration::from_nanos(u64::try_from(into).unwrap_or(0));
    (at - into.min(since)).max(now)
}

/// The shares of a bound between which a delay is drawn.
const DRAWN: [f64; 2] = [0.25, 0.9];

/// Exponential backoff with jitter: each delay is drawn evenly from [`DRAWN`] of a bound that doubles
/// up to a cap (AWS architecture blog, "Exponential Backoff And Jitter"). From zero, as is usual,
/// every tenth try would follow the one before at once and learn nothing; up to the whole bound, the
/// last of many would come a cap and its own time after the registry.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// Draws the delay before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = self
            .base
            .saturating_mul(1u32.checked_shl(self.failures.min(20)).unwrap_or(u32::MAX))
            .min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let [least, most] = DRAWN;
        bound.mul_f64(least + (most - least) * fastrand::f64())
    }

    /// Draws the delay before the next try after `error`: not sooner than the registry asked for,
    /// and spread from there on, since it asks all of its clients for the same. Beyond the cap it is
    /// not listened to, else a page with an hour in it would take living services away.
    pub(crate) fn after(&mut self, error: &Error) -> Duration {
        let drawn = self.next();
        let Some(asked) = error.retry_after() else {
            return drawn;
        };
        let least = asked.min(self.cap).mul_f64(1.0 + fastrand::f64() / 4.0);
        drawn.max(least.min(self.cap))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `duration` times a factor drawn evenly from `1 - spread` to `1 + spread`.
pub(crate) fn jittered(duration: Duration, spread: f64) -> Duration {
    duration.mul_f64(1.0 - spread + 2.0 * spread * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_cap_and_is_spread() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let delays: Vec<_> = (0..1000).map(|_| backoff.next()).collect();
        assert!(delays[0] <= Duration::from_millis(100));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(5)));
        let late = &delays[20..];
        let mean = late.iter().sum::<Duration>() / u32::try_from(late.len()).expect("small");
        let about = Duration::from_millis(2_700)..Duration::from_millis(3_050);
        assert!(about.contains(&mean), "{mean:?}");
        let spread = (late.iter().min(), late.iter().max());
        assert!(
            spread.0 < Some(&Duration::from_millis(1_350))
                && spread.1 > Some(&Duration::from_millis(4_400)),
            "{spread:?}"
        );
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }

    #[test]
    fn what_the_registry_asks_for_is_waited_up_to_the_cap() {
        let cap = Duration::from_secs(5);
        let mut backoff = Backoff::new(Duration::from_millis(100), cap);
        let error = Error::unavailable("busy");
        assert!(backoff.after(&error) <= Duration::from_millis(100));
        let asked = Duration::from_secs(2);
        let asking = error.clone().with_retry_after(asked);
        let delays: Vec<_> = (0..1000).map(|_| backoff.after(&asking)).collect();
        assert!(delays.iter().all(|delay| (asked..=cap).contains(delay)));
        assert!(delays.iter().any(|delay| *delay > asked * 2), "spread");
        let for_ever = error.with_retry_after(Duration::MAX);
        assert_eq!(backoff.after(&for_ever), cap);
    }

    #[tokio::test(start_paused = true)]
    async fn slots_gather_moments() {
        let now = Instant::now();
        let at = slot(now + Duration::from_millis(730), now);
        let same = slot(at + Duration::from_millis(99), now);
        assert_eq!(at, same);
        assert!(slot(now, now) >= now);
    }
}
