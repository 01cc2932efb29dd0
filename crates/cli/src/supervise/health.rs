//! The verdict over a program, from one answer after another.

use std::time::Duration;

use tokio::time::Instant;

/// Bad answers in a row until a healthy program counts as unhealthy.
const FALL: u32 = 3;
/// Good answers in a row until a program that was unhealthy counts as healthy again.
const RISE: u32 = 2;

/// What an answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Same,
    /// It is healthy from now on.
    Healthy,
    /// It is unhealthy from now on.
    Unhealthy,
    /// It has been unhealthy for so long that it will not recover by itself.
    Hung,
}

/// Hysteresis over answers: one lost packet neither deregisters a program nor registers it.
#[derive(Debug)]
pub(crate) struct Health {
    healthy: bool,
    /// Answers in a row that say the opposite of `healthy`.
    streak: u32,
    /// Whether it was ever healthy; the first time needs one good answer.
    seen: bool,
    /// Since when it has not been healthy.
    failing_since: Instant,
    start_timeout: Duration,
    hung_after: Duration,
}

impl Health {
    /// Of a program that has just been started.
    pub(crate) fn new(now: Instant, start_timeout: Duration, hung_after: Duration) -> Self {
        Self {
            healthy: false,
            streak: 0,
            seen: false,
            failing_since: now,
            start_timeout,
            hung_after,
        }
    }

    /// Takes one answer.
    pub(crate) fn step(&mut self, good: bool, now: Instant) -> Verdict {
        if good == self.healthy {
            self.streak = 0;
            return self.patience(now);
        }
        self.streak += 1;
        if self.healthy && self.streak == 1 {
            self.failing_since = now;
        }
        let needed = match (self.healthy, self.seen) {
            (true, _) => FALL,
            (false, true) => RISE,
            (false, false) => 1,
        };
        if self.streak < needed {
            return self.patience(now);
        }
        self.streak = 0;
        self.healthy = good;
        self.seen |= good;
        if good {
            Verdict::Healthy
        } else {
            Verdict::Unhealthy
        }
    }

    fn patience(&self, now: Instant) -> Verdict {
        let limit = if self.seen {
            self.hung_after
        } else {
            self.start_timeout
        };
        if !self.healthy && now.duration_since(self.failing_since) >= limit {
            Verdict::Hung
        } else {
            Verdict::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_become_verdicts_only_in_a_row() {
        use Verdict::{Healthy, Hung, Same, Unhealthy};
        let mut health = Health::new(
            Instant::now(),
            Duration::from_secs(60),
            Duration::from_secs(8),
        );
        for (n, (good, expected)) in [
            (false, Same),
            (true, Healthy),
            (true, Same),
            (false, Same),
            (false, Same),
            (true, Same),
            (false, Same),
            (false, Same),
            (false, Unhealthy),
            (true, Same),
            (false, Same),
            (true, Same),
            (true, Healthy),
            (false, Same),
            (false, Same),
            (false, Unhealthy),
            (false, Same),
            (false, Same),
            (false, Same),
            (false, Same),
            (false, Same),
            (false, Hung),
        ]
        .into_iter()
        .enumerate()
        {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(health.step(good, Instant::now()), expected, "answer {n}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_never_gets_well_is_hung_after_the_start_timeout() {
        let (start, hung) = (Duration::from_secs(60), Duration::from_secs(5));
        let mut health = Health::new(Instant::now(), start, hung);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(health.step(false, Instant::now()), Verdict::Same);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.step(false, Instant::now()), Verdict::Hung);
    }
}
