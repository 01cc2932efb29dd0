//! A case as data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::{Context, Subject};

/// Longest time that a case may take; each has tighter bounds inside.
const LIMIT: Duration = Duration::from_secs(120);

/// One law with the experiment that would show it broken.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// States the law: `killed_owner_vanishes_after_ttl`. The same for every registry.
    pub name: &'static str,
    /// The law as one sentence.
    pub law: &'static str,
    /// The invariants that this case guards: `L1` to `L8` of leases, `W1` to `W7` of watchers,
    /// `S1` to `S6` of the directory; see `plugins/README.md`.
    pub invariants: &'static [&'static str],
    /// The experiment.
    pub run: fn(Context) -> BoxFuture<'static, Outcome>,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        law: &'static str,
        invariants: &'static [&'static str],
        run: fn(Context) -> BoxFuture<'static, Outcome>,
    ) -> Self {
        Self {
            name,
            law,
            invariants,
            run,
        }
    }

    /// Runs the case on `subject` in a fresh namespace, for two minutes at most.
    ///
    /// # Cancel safety
    /// A dropped run leaves records that go with their ttl.
    pub async fn check(&self, subject: Arc<dyn Subject>) -> Outcome {
        match timeout(LIMIT, (self.run)(Context::new(subject))).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed(format!("the case was not through within {LIMIT:?}")),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The law held.
    Passed,
    /// The law was broken: what was seen, what was expected, and the bound.
    Failed(String),
    /// The law does not apply, by this fact.
    Ignored(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("ok"),
            Self::Failed(text) => write!(f, "FAILED, {text}"),
            Self::Ignored(reason) => write!(f, "ignored, {reason}"),
        }
    }
}
