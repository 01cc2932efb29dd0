//! The account of records that were passed over because they could not be believed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many of the latest skipped records are remembered by name.
const REMEMBERED: usize = 64;

/// Most bytes of a place or a reason that are kept: keys are made by others, and may be as long as
/// a backend takes.
const MAX_TEXT: usize = 600;

/// One record that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Where the record stands: a key, a path, a tag.
    pub place: String,
    /// Which rule it breaks.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.place, self.reason)
    }
}

/// Counts records that were skipped, and remembers the latest.
///
/// A bad record never hides a good one; it is left out, counted here and in the counter
/// `waypost_registry_skipped_records_total`, and logged once a place and reason. Clones share one
/// account.
#[derive(Debug, Clone, Default)]
pub struct SkipLog(Arc<Account>);

#[derive(Debug, Default)]
struct Account {
    total: AtomicU64,
    recent: Mutex<VecDeque<Skipped>>,
}

impl SkipLog {
    /// An empty account.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a record that was passed over by `driver`.
    pub fn skip(&self, driver: &'static str, place: impl Into<String>, reason: impl Into<String>) {
        let skipped = Skipped {
            place: cut(place.into()),
            reason: cut(reason.into()),
        };
        self.0.total.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("waypost_registry_skipped_records_total", "driver" => driver)
            .increment(1);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.contains(&skipped) {
            return;
        }
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        tracing::warn!(
            driver,
            place = ?skipped.place,
            reason = %skipped.reason,
            "skipped a record"
        );
        recent.push_back(skipped);
    }

    /// How many times a record was skipped since the registry was opened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// The latest different skipped records, oldest first (at most 64).
    #[must_use]
    pub fn recent(&self) -> Vec<Skipped> {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_whatever_the_registry_holds() {
        let log = SkipLog::new();
        for n in 0..1000 {
            log.skip(
                "test",
                format!("{n}{}", "é".repeat(1 << 16)),
                "x".repeat(1 << 16),
            );
        }
        log.skip("test", "short", "reason");
        let recent = log.recent();
        assert_eq!((log.total(), recent.len()), (1001, REMEMBERED));
        let held = |text: &String| text.capacity();
        let most = recent
            .iter()
            .map(|one| held(&one.place) + held(&one.reason))
            .max();
        assert!(most < Some(2 * MAX_TEXT + 10), "{most:?}");
        assert_eq!(recent[REMEMBERED - 1].place, "short");
    }
}
