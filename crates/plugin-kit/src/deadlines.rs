//! The one timer of records that carry a deadline.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::Task;

/// Calls `sweep` at the moment that it named last, and whenever `changed` is notified.
///
/// `sweep` gets the present moment, removes what has expired, and names the next deadline. It
/// needs not be told of deadlines that move later: it finds nothing due and names the new one.
/// `changed` is for deadlines that come before all others. The returned task is the owner's to
/// keep; dropping it ends the timer.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn expire(
    changed: Arc<Notify>,
    mut sweep: impl FnMut(Instant) -> Option<Instant> + Send + 'static,
) -> Task {
    Task::spawn(async move {
        loop {
            let next = sweep(Instant::now());
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = changed.notified() => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_swept_at_its_moment() {
        let start = Instant::now();
        let deadlines = Arc::new(Mutex::new(BTreeSet::new()));
        let swept = Arc::new(Mutex::new(Vec::new()));
        let changed = Arc::new(Notify::new());
        let (left, log) = (Arc::clone(&deadlines), Arc::clone(&swept));
        let task = expire(Arc::clone(&changed), move |now| {
            let mut left = left.lock().expect("lock");
            while left.first().is_some_and(|first| *first <= now) {
                left.pop_first();
                log.lock().expect("lock").push((now - start).as_millis());
            }
            left.first().copied()
        });
        for millis in [300, 100, 200] {
            let deadline = start + Duration::from_millis(millis);
            deadlines.lock().expect("lock").insert(deadline);
            changed.notify_one();
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(*swept.lock().expect("lock"), [100, 200]);
        drop(task);
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(
            *swept.lock().expect("lock"),
            [100, 200],
            "a dropped task sweeps no more"
        );
    }
}
