//! The pace of a loop that somebody else could make spin.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets a burst of turns through at once, and then one every so often (GCRA: the generic cell rate
/// algorithm, ITU-T I.371).
///
/// For loops whose rounds end when a backend says so: one that is wrong, restarted or busy with
/// others' changes must not turn them into busy loops.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    ahead: Duration,
    /// When the turns taken so far would have been due, one every `every`.
    due: Instant,
}

impl Pace {
    /// A pace of `burst` turns at once (at least one), and one every `every` in the long run.
    #[must_use]
    pub fn new(burst: u32, every: Duration) -> Self {
        Self {
            every,
            ahead: every.saturating_mul(burst.saturating_sub(1)),
            due: Instant::now(),
        }
    }

    /// Waits until a turn is free, and takes it.
    ///
    /// # Cancel safety
    /// Safe: a dropped turn is not taken.
    pub async fn turn(&mut self) {
        let now = Instant::now();
        self.due = self.due.max(now);
        if let Some(free) = self.due.checked_sub(self.ahead)
            && free > now
        {
            sleep_until(free).await;
        }
        self.due += self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turns(pace: &mut Pace, span: Duration) -> usize {
        let end = Instant::now() + span;
        let mut count = 0;
        while tokio::time::timeout_at(end, pace.turn()).await.is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_one_by_one() {
        let every = Duration::from_millis(250);
        let mut pace = Pace::new(4, every);
        let start = Instant::now();
        for _ in 0..4 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.turn().await;
        assert_eq!(start.elapsed(), every);
        let more = turns(&mut pace, Duration::from_secs(10)).await;
        assert!((39..=41).contains(&more), "{more}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_gives_the_burst_back_and_no_more() {
        let mut pace = Pace::new(3, Duration::from_secs(1));
        turns(&mut pace, Duration::from_secs(5)).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        for _ in 0..3 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.turn().await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
