//! One does it for all who need it done.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex as Lock, PoisonError};

use tokio::sync::Mutex;
use waypost_core::{Error, Result};

/// Serializes a piece of work that many want and one has to do: logging in, opening a stream.
///
/// Who waits while another works shares that one's failure instead of failing again by itself, so
/// that thousands of waiters make one try a beat and not thousands.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    turn: Mutex<()>,
    failures: AtomicU64,
    last: Lock<Option<Error>>,
}

impl Turn {
    /// Returns what `ready` finds, else does `work`, one caller at a time. `work` is not begun
    /// when somebody's work failed while this caller waited.
    ///
    /// # Cancel safety
    /// A dropped future passes the turn on.
    pub(crate) async fn take<T>(
        &self,
        ready: impl Fn() -> Option<T>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let seen = self.failures.load(Ordering::Acquire);
        // Held across the work on purpose: waiting for it is what the lock is for.
        let _turn = self.turn.lock().await;
        if let Some(found) = ready() {
            return Ok(found);
        }
        if self.failures.load(Ordering::Acquire) != seen
            && let Some(error) = self.last().clone()
        {
            return Err(error);
        }
        let result = work.await;
        if let Err(error) = &result {
            *self.last() = Some(error.clone());
            self.failures.fetch_add(1, Ordering::Release);
        }
        result
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn many_waiters_make_one_try_and_share_its_failure() {
        let turn = Turn::default();
        let tries = AtomicUsize::new(0);
        let work = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err::<(), _>(Error::unavailable("down"))
        };
        let all = join_all((0..100).map(|_| turn.take(|| None, work()))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        assert!(turn.take(|| None, work()).await.is_err());
        assert_eq!(
            tries.load(Ordering::Relaxed),
            2,
            "a later caller tries anew"
        );
    }

    #[tokio::test]
    async fn many_waiters_share_a_success() {
        let turn = Turn::default();
        let done = Lock::new(None);
        let tries = AtomicUsize::new(0);
        let work = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            *done.lock().expect("lock") = Some(7);
            Ok(7)
        };
        let ready = || *done.lock().expect("lock");
        let all = join_all((0..100).map(|_| turn.take(ready, work()))).await;
        assert!(all.iter().all(|result| matches!(result, Ok(7))));
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_dropped_worker_passes_the_turn_on() {
        let turn = Turn::default();
        {
            let stuck = turn.take(|| None, std::future::pending::<Result<()>>());
            let mut stuck = std::pin::pin!(stuck);
            assert!(futures_util::poll!(&mut stuck).is_pending());
        }
        assert!(turn.take(|| None, async { Ok(()) }).await.is_ok());
    }
}
