//! The one place where it is decided whether a call is tried again.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::{CallInfo, Decision, Outcome, Retry, RetryBudget, Sent, Upcoming};
use crate::{Deadline, code};

/// What holds for all tries of one call.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// How the caller tries again.
    pub retry: &'a Retry,
    /// What the target's callers may repeat together.
    pub budget: &'a RetryBudget,
    /// The call.
    pub call: &'a CallInfo<'a>,
    /// When all of it must be over.
    pub deadline: Deadline,
}

/// Why a call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The policy does not repeat this, or there is nothing to repeat: it worked.
    NotRetryable,
    /// All its tries are used.
    Exhausted,
    /// The target's budget for repeats is used up.
    Budget,
    /// Another try could not start before the deadline.
    Deadline,
    /// It was sent, no answer came, and it must not run twice.
    MayHaveRun,
    /// The peer asks not to be tried again.
    NoRetryWished,
    /// It is made on behalf of a call that is itself a repeat.
    AlreadyRetried,
}

impl Why {
    /// The reason as a word, for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::Exhausted => "exhausted",
            Self::Budget => "retry_budget_exhausted",
            Self::Deadline => "deadline",
            Self::MayHaveRun => "may_have_run",
            Self::NoRetryWished => "no_retry_wished",
            Self::AlreadyRetried => "already_retried",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRetryable => "this is not retried",
            Self::Exhausted => "all tries are used",
            Self::Budget => "the retry budget is used up",
            Self::Deadline => "no time is left for another try",
            Self::MayHaveRun => "it may have run, and is not idempotent",
            Self::NoRetryWished => "the node asks for no retry",
            Self::AlreadyRetried => "it is made for a call that is a retry itself",
        })
    }
}

/// What to do now.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// Start a try after this wait, which ends in time.
    Go {
        /// How long to wait.
        wait: Duration,
    },
    /// End with what the last try ended with.
    End(Why),
    /// End with the policy's own error.
    Fail(Box<dyn Error + Send + Sync>),
}

/// The tries of one call: told how each ended, says whether there is another.
///
/// Asked by [`first`](Self::first) once, then by [`after`](Self::after) for each try that failed.
/// The rules, the first that applies:
///
/// 1. What worked is not repeated, nor is what the peer asks not to be repeated.
/// 2. The policy may end the call with an error of its own, or with the try's.
/// 3. A try that was never sent is repeated on a node that the call has not tried, whatever the
///    policy says, [`RetryNever`](super::RetryNever) excepted: it made no work for anybody, so it
///    costs no budget and is no retry. Once all nodes are tried the next rules hold for it too.
/// 4. A call made for one that is a repeat itself is not repeated.
/// 5. There are so many retries and no more.
/// 6. The wait is the backoff's or the peer's, the longer; the try after it must find 5 ms left.
/// 7. The target's budget must have one left. It is asked last, so that nothing is drawn in vain.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use waypost_resilience::{
///     Attempts, CallInfo, Deadline, Outcome, Retry, RetryBudget, Rules, Sent, Verdict, Why,
/// };
///
/// let rules = Rules {
///     retry: &Retry::default(),
///     budget: &RetryBudget::default(),
///     call: &CallInfo::new("greeter", "Greeter.Hello"),
///     deadline: Deadline::after(Duration::from_secs(5)),
/// };
/// let mut attempts = Attempts::new(1);
/// assert!(matches!(attempts.first(&rules, Instant::now()), Verdict::Go { .. }));
/// // The node refused: another is tried. It hangs up: the call may have run there.
/// let refused = Outcome::new(503, Sent::Never);
/// let verdict = attempts.after(&rules, &refused, true, Instant::now());
/// assert!(matches!(verdict, Verdict::Go { wait: Duration::ZERO }));
/// let reset = Outcome::new(503, Sent::Maybe);
/// let verdict = attempts.after(&rules, &reset, true, Instant::now());
/// assert!(matches!(verdict, Verdict::End(Why::MayHaveRun)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Tries begun.
    started: u32,
    /// Tries that somebody may have got.
    sent: u32,
    /// Tries that counted as a retry.
    retries: u32,
    /// The number that the call came with on whose behalf this one is made.
    incoming: u32,
}

impl Attempts {
    /// The tries of a call made on behalf of one that came with the number `incoming`; 1 for a call
    /// that is made on nobody's behalf.
    #[must_use]
    pub fn new(incoming: u32) -> Self {
        Self {
            started: 0,
            sent: 0,
            retries: 0,
            incoming: incoming.max(1),
        }
    }

    /// Asks for the first try, and tells the budget of the call if it begins.
    pub fn first(&mut self, rules: &Rules<'_>, now: Instant) -> Verdict {
        let Some(wait) = self.wait(rules, None, true, now) else {
            return Verdict::End(Why::Deadline);
        };
        rules.budget.deposit(now);
        self.go(wait)
    }

    /// Asks for another try after one ended with `outcome`; `fresh_node` when there is a node that
    /// this call has not tried.
    pub fn after(
        &mut self,
        rules: &Rules<'_>,
        outcome: &Outcome<'_>,
        fresh_node: bool,
        now: Instant,
    ) -> Verdict {
        let was_sent = outcome.sent != Sent::Never;
        self.sent = self.sent.saturating_add(u32::from(was_sent));
        if outcome.code == code::OK {
            return Verdict::End(Why::NotRetryable);
        }
        if outcome.no_retry {
            return Verdict::End(Why::NoRetryWished);
        }
        let policy = &rules.retry.policy;
        let number = self.started.saturating_sub(1);
        let is_wanted = match policy.decide(rules.call, number, outcome) {
            Decision::Retry => true,
            Decision::Stop => false,
            Decision::Fail(error) => return Verdict::Fail(error),
        };
        let is_free = !was_sent && fresh_node && policy.repeats_unsent();
        if !is_wanted && !is_free {
            return Verdict::End(match outcome.sent {
                Sent::Maybe if !rules.call.idempotent => Why::MayHaveRun,
                _ => Why::NotRetryable,
            });
        }
        if !is_free && self.is_after_retry(rules) {
            return Verdict::End(Why::AlreadyRetried);
        }
        if !is_free && self.retries >= rules.retry.retries {
            return Verdict::End(Why::Exhausted);
        }
        let Some(wait) = self.wait(rules, outcome.retry_after, fresh_node, now) else {
            return Verdict::End(Why::Deadline);
        };
        if !is_free {
            if !rules.budget.withdraw(now) {
                return Verdict::End(Why::Budget);
            }
            self.retries += 1;
        }
        self.go(wait)
    }

    /// How many tries were begun.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.started
    }

    /// The number to send along with the try under way, 1 for the first. Tries that were never sent
    /// do not count, and it is never below the number that came in.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.sent.saturating_add(1).max(self.incoming)
    }

    /// Whether the try under way is the last if it is sent: it may take all the time that is left.
    #[must_use]
    pub fn is_last(&self, rules: &Rules<'_>) -> bool {
        self.retries >= rules.retry.retries
            || self.is_after_retry(rules)
            || !rules.retry.policy.may_repeat(rules.call)
    }

    fn is_after_retry(&self, rules: &Rules<'_>) -> bool {
        self.incoming > 1 && !rules.retry.after_retry
    }

    fn go(&mut self, wait: Duration) -> Verdict {
        self.started = self.started.saturating_add(1);
        Verdict::Go { wait }
    }

    /// The wait before the coming try, or none when the try could not start in time.
    fn wait(
        &self,
        rules: &Rules<'_>,
        asked: Option<Duration>,
        fresh_node: bool,
        now: Instant,
    ) -> Option<Duration> {
        let left = rules.deadline.remaining_at(now);
        let most = left.checked_sub(Deadline::LEAST)?;
        let coming = Upcoming::new(self.started, fresh_node, most);
        let wait = rules.retry.backoff.wait(rules.call, &coming);
        let wait = wait.max(asked.unwrap_or_default());
        (wait <= most).then_some(wait)
    }
}

#[cfg(test)]
mod tests;
