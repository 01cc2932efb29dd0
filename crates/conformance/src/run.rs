//! Runs the suite anywhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::{Case, Outcome, Subject, cases};

/// How one case went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The case.
    pub case: Case,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Runs all cases on `subject`, `at_once` of them at a time, and reports in the order of
/// [`cases`]. Most of a case is waiting: 32 at once finish in the time of the longest few.
///
/// # Cancel safety
/// A dropped run leaves records that go with their ttl.
pub async fn run(subject: Arc<dyn Subject>, at_once: usize) -> Vec<Report> {
    stream::iter(cases())
        .map(|case| {
            let subject = Arc::clone(&subject);
            async move {
                let start = Instant::now();
                let outcome = case.check(subject).await;
                Report {
                    case: *case,
                    outcome,
                    took: start.elapsed(),
                }
            }
        })
        .buffered(at_once.max(1))
        .collect()
        .await
}
