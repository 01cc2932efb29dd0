//! What is tried again: a policy judges each try that failed.

use std::error::Error;
use std::time::Duration;

use crate::code;

/// The call that is being made.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CallInfo<'a> {
    /// The service it is for.
    pub service: &'a str,
    /// The endpoint of the service: `Greeter.Hello`, `/path`.
    pub endpoint: &'a str,
    /// Whether running it twice is the same as running it once.
    pub idempotent: bool,
}

impl<'a> CallInfo<'a> {
    /// A call that must not run twice, unless told.
    #[must_use]
    pub fn new(service: &'a str, endpoint: &'a str) -> Self {
        Self {
            service,
            endpoint,
            idempotent: false,
        }
    }

    /// Says whether running it twice is the same as running it once.
    #[must_use]
    pub fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }
}

/// How far a try came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Nothing of it left this process, or the peer says that it took none of it: a refused
    /// connection, a stream that HTTP/2 refused.
    Never,
    /// It was sent, whole or in part, and no answer came: it may have run.
    Maybe,
    /// An answer came.
    Answered,
}

/// How a try ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Outcome<'a> {
    /// One of go-micro's [codes](crate::code); 200 is fine.
    pub code: u16,
    /// How far the try came.
    pub sent: Sent,
    /// How long the peer asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The peer asks not to be tried again.
    pub no_retry: bool,
    /// The node that was tried, where that is known.
    pub node: &'a str,
    /// What was wrong, where there is an error to look at.
    pub error: Option<&'a (dyn Error + 'static)>,
}

impl<'a> Outcome<'a> {
    /// A try that ended with `code`.
    #[must_use]
    pub fn new(code: u16, sent: Sent) -> Self {
        Self {
            code,
            sent,
            retry_after: None,
            no_retry: false,
            node: "",
            error: None,
        }
    }

    /// Says which node was tried.
    #[must_use]
    pub fn with_node(mut self, node: &'a str) -> Self {
        self.node = node;
        self
    }

    /// Says what was wrong.
    #[must_use]
    pub fn with_error(mut self, error: &'a (dyn Error + 'static)) -> Self {
        self.error = Some(error);
        self
    }

    /// Says what the peer asks for.
    #[must_use]
    pub fn with_pushback(mut self, pushback: super::Pushback) -> Self {
        self.retry_after = pushback.after;
        self.no_retry = pushback.never;
        self
    }
}

/// What a policy wants.
#[derive(Debug)]
pub enum Decision {
    /// Try again.
    Retry,
    /// End with what the try ended with.
    Stop,
    /// End with this error instead.
    Fail(Box<dyn Error + Send + Sync>),
}

/// Judges tries that failed. A closure of [`decide`](Self::decide)'s shape is one.
///
/// It has the word on what may be repeated, also of calls that may have run: who sets another than
/// [`RetrySafe`] takes that on. It has no word on how often: see [`Attempts`](super::Attempts).
///
/// ```
/// use waypost_resilience::{CallInfo, Decision, Outcome, Retry};
///
/// let retry = Retry::default().with_policy(
///     |call: &CallInfo<'_>, attempt: u32, outcome: &Outcome<'_>| match outcome.code {
///         404 => Decision::Fail(format!("{} has moved", call.service).into()),
///         503 if attempt == 0 => Decision::Retry,
///         _ => Decision::Stop,
///     },
/// );
/// assert_eq!(retry.retries(), 2);
/// ```
pub trait RetryPolicy: Send + Sync + 'static {
    /// Judges the try number `attempt` (0 is the first) of `call`.
    fn decide(&self, call: &CallInfo<'_>, attempt: u32, outcome: &Outcome<'_>) -> Decision;

    /// Whether a try that was never sent is repeated on another node though
    /// [`decide`](Self::decide) says [`Decision::Stop`].
    fn repeats_unsent(&self) -> bool {
        true
    }

    /// Whether a try of `call` that was sent can ever be repeated. Where it cannot, the try need
    /// not leave time for another.
    fn may_repeat(&self, call: &CallInfo<'_>) -> bool {
        let _ = call;
        true
    }
}

impl<F> RetryPolicy for F
where
    F: Fn(&CallInfo<'_>, u32, &Outcome<'_>) -> Decision + Send + Sync + 'static,
{
    fn decide(&self, call: &CallInfo<'_>, attempt: u32, outcome: &Outcome<'_>) -> Decision {
        self(call, attempt, outcome)
    }
}

fn retry_if(yes: bool) -> Decision {
    if yes { Decision::Retry } else { Decision::Stop }
}

/// Whatever failed is tried again (go-micro's `RetryAlways`), also what may have run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryAlways;

impl RetryPolicy for RetryAlways {
    fn decide(&self, _: &CallInfo<'_>, _: u32, outcome: &Outcome<'_>) -> Decision {
        retry_if(outcome.code != code::OK)
    }
}

/// Codes 408 and 500 are tried again (go-micro's `RetryOnError`), also of calls that may have run.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryOnError;

impl RetryPolicy for RetryOnError {
    fn decide(&self, _: &CallInfo<'_>, _: u32, outcome: &Outcome<'_>) -> Decision {
        retry_if(matches!(outcome.code, code::TIMEOUT | code::INTERNAL))
    }
}

/// What cannot do harm is tried again: tries that were never sent, and of idempotent calls those
/// that ended with 408, 429, 500, 502, 503 or 504, or without an answer. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetrySafe;

impl RetryPolicy for RetrySafe {
    fn decide(&self, call: &CallInfo<'_>, _: u32, outcome: &Outcome<'_>) -> Decision {
        let is_passing = matches!(outcome.code, 408 | 429 | 500 | 502 | 503 | 504);
        retry_if(is_passing && (call.idempotent || outcome.sent == Sent::Never))
    }

    fn may_repeat(&self, call: &CallInfo<'_>) -> bool {
        call.idempotent
    }
}

/// Nothing is tried again, not even what was never sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryNever;

impl RetryPolicy for RetryNever {
    fn decide(&self, _: &CallInfo<'_>, _: u32, _: &Outcome<'_>) -> Decision {
        Decision::Stop
    }

    fn repeats_unsent(&self) -> bool {
        false
    }

    fn may_repeat(&self, _: &CallInfo<'_>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retried(policy: &dyn RetryPolicy, idempotent: bool, sent: Sent) -> Vec<u16> {
        let call = CallInfo::new("greeter", "hello").with_idempotent(idempotent);
        let codes = [
            200, 400, 401, 404, 408, 409, 429, 499, 500, 501, 502, 503, 504,
        ];
        let again = |code: &u16| {
            let outcome = Outcome::new(*code, sent);
            matches!(policy.decide(&call, 0, &outcome), Decision::Retry)
        };
        codes.into_iter().filter(again).collect()
    }

    #[test]
    fn policies_retry_what_they_are_named_for() {
        let passing = vec![408, 429, 500, 502, 503, 504];
        let none: Vec<u16> = Vec::new();
        let failed = vec![400, 401, 404, 408, 409, 429, 499, 500, 501, 502, 503, 504];
        for sent in [Sent::Never, Sent::Maybe, Sent::Answered] {
            for idempotent in [true, false] {
                assert_eq!(retried(&RetryAlways, idempotent, sent), failed);
                assert_eq!(retried(&RetryOnError, idempotent, sent), [408, 500]);
                assert_eq!(retried(&RetryNever, idempotent, sent), none);
            }
            assert_eq!(retried(&RetrySafe, true, sent), passing);
        }
        assert_eq!(retried(&RetrySafe, false, Sent::Never), passing);
        assert_eq!(retried(&RetrySafe, false, Sent::Maybe), none);
        assert_eq!(retried(&RetrySafe, false, Sent::Answered), none);
    }
}
