//! Health checks of a program, and the verdict over one from its answers.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval, timeout};
use waypost_core::{Error, Result};

use crate::board::Board;
use crate::hooks::{BoxError, Outcome};

type Probe = Arc<dyn Fn() -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A health check: a question that the service asks itself now and then.
///
/// While a check fails the service is not registered, so that nobody is sent to it. One bad answer
/// changes nothing: it takes three in a row to leave and two good ones in a row to come back. A
/// service that has just started is registered after the first good answer of each of its checks.
///
/// Checks say whether others should call this node. They never end the process: `/livez` does not
/// look at them.
///
/// ```
/// use std::time::Duration;
/// use waypost_server::Check;
///
/// let check = Check::new("database", || async {
///     // … ask it …
///     Ok(())
/// })
/// .every(Duration::from_secs(2));
/// ```
#[derive(Clone)]
pub struct Check {
    pub(crate) name: String,
    probe: Probe,
    period: Duration,
    limit: Duration,
    fall: u32,
    rise: u32,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

impl Check {
    /// A check called `name` that asks `probe` every 5 s and gives it 2 s to answer.
    pub fn new<F, Fut>(name: impl Into<String>, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<(), BoxError>> + Send + 'static,
    {
        Self {
            name: name.into(),
            probe: Arc::new(move || Box::pin(probe())),
            period: Duration::from_secs(5),
            limit: Duration::from_secs(2),
            fall: 3,
            rise: 2,
        }
    }

    /// Sets how often it asks.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// Sets how long an answer may take. No answer in time is a bad one, and so is a panic.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how many bad answers in a row deregister (default 3).
    #[must_use]
    pub fn fall(mut self, answers: u32) -> Self {
        self.fall = answers;
        self
    }

    /// Sets how many good answers in a row register again (default 2).
    #[must_use]
    pub fn rise(mut self, answers: u32) -> Self {
        self.rise = answers;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let fault = |rule: &str| {
            Err(Error::config(format!(
                "health check {:?} {rule}",
                self.name
            )))
        };
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(char::is_control) {
            return fault("has a name that is empty, over 64 bytes or has control characters");
        }
        if self.period < Duration::from_millis(10) {
            return fault("asks more often than every 10 ms");
        }
        if self.limit.is_zero() {
            return fault("gives no time to answer");
        }
        if self.fall == 0 || self.rise == 0 {
            return fault("needs at least one answer to change its verdict");
        }
        Ok(())
    }

    /// Asks for ever, and tells the board whenever the verdict or its reason changes.
    pub(crate) async fn run(self, at: usize, board: Board) {
        let mut verdict = Hysteresis::new(self.fall, self.rise);
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self.ask().await;
            let changed = verdict.step(answer.is_ok());
            if let Some(passing) = changed {
                let cause = answer
                    .as_ref()
                    .err()
                    .map(String::as_str)
                    .unwrap_or_default();
                tracing::info!(check = self.name, passing, cause, "health");
            }
            board.checked(at, verdict.passing, answer.err());
        }
    }

    async fn ask(&self) -> std::result::Result<(), String> {
        let asking = AssertUnwindSafe(async { (self.probe)().await }).catch_unwind();
        match timeout(self.limit, asking).await {
            Ok(Ok(answer)) => answer.map_err(|cause| cause.to_string()),
            Ok(Err(panic)) => Err(format!("panicked: {}", panic_text(&*panic))),
            Err(_) => Err(format!("no answer within {:?}", self.limit)),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A verdict that one answer does not change.
#[derive(Debug)]
struct Hysteresis {
    fall: u32,
    rise: u32,
    passing: bool,
    /// Whether it has ever passed; the first time needs one good answer.
    seen: bool,
    /// Answers in a row that say the opposite of `passing`.
    streak: u32,
}

impl Hysteresis {
    fn new(fall: u32, rise: u32) -> Self {
        Self {
            fall,
            rise,
            passing: false,
            seen: false,
            streak: 0,
        }
    }

    /// Takes one answer; tells the new verdict where it changes.
    fn step(&mut self, good: bool) -> Option<bool> {
        if good == self.passing {
            self.streak = 0;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let needed = match (self.passing, self.seen) {
            (true, _) => self.fall,
            (false, true) => self.rise,
            (false, false) => 1,
        };
        if self.streak < needed {
            return None;
        }
        self.streak = 0;
        self.passing = good;
        self.seen = true;
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_changes_only_after_answers_in_a_row() {
        let mut verdict = Hysteresis::new(3, 2);
        for (n, (good, expected)) in [
            (false, None),
            (true, Some(true)),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(true)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(verdict.step(good), expected, "answer {n}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_panics_are_bad_answers() {
        let silent = Check::new("silent", std::future::pending).within(Duration::from_secs(1));
        assert_eq!(silent.ask().await, Err("no answer within 1s".to_owned()));
        let wild = Check::new("wild", || async { panic!("boom") });
        assert_eq!(wild.ask().await, Err("panicked: boom".to_owned()));
        let wild = Check::new("wild", || -> BoxFuture<'static, Outcome> {
            panic!("at once")
        });
        assert_eq!(wild.ask().await, Err("panicked: at once".to_owned()));
    }

    #[test]
    fn a_check_that_cannot_work_is_refused() {
        let check = || Check::new("db", || async { Ok(()) });
        assert!(check().validate().is_ok());
        for bad in [
            check().every(Duration::ZERO),
            check().within(Duration::ZERO),
            check().fall(0),
            check().rise(0),
            Check::new("", || async { Ok(()) }),
        ] {
            let error = bad.validate().expect_err("bad").to_string();
            assert!(error.starts_with("health check "), "{error}");
        }
    }
}
