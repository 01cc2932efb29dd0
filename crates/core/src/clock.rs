//! Time in the house: slots that beats share, and backoff with full jitter.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

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

/// Exponential backoff with full jitter: each delay is drawn evenly from zero to a bound that
/// doubles up to a cap (AWS architecture blog, "Exponential Backoff And Jitter").
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
        bound.mul_f64(fastrand::f64()).max(self.base / 10)
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
        assert!(
            mean > Duration::from_secs(2) && mean < Duration::from_secs(3),
            "{mean:?}"
        );
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
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
