//! The one timer of records that carry a deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

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

/// Wakes a future that nothing else may wake in time.
#[derive(Debug)]
pub struct Waking(Pin<Box<Sleep>>);

impl Waking {
    /// Wakes for the first time at `moment`.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn at(moment: Instant) -> Self {
        Self(Box::pin(sleep_until(moment)))
    }

    /// Has whoever polls woken at `next`, or at the moment before that was named last.
    pub fn poll(&mut self, next: Instant, context: &mut Context<'_>) {
        if self.0.as_mut().poll(context).is_ready() {
            self.0.as_mut().reset(next);
            if self.0.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_polls_is_woken_at_the_moments_that_were_named() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let mut waking = Waking::at(begun + second);
        let mut woken = Vec::new();
        std::future::poll_fn(|context| {
            woken.push(begun.elapsed().as_secs());
            waking.poll(Instant::now() + 3 * second, context);
            match woken.len() {
                4 => std::task::Poll::Ready(()),
                _ => std::task::Poll::Pending,
            }
        })
        .await;
        assert_eq!(woken, [0, 1, 4, 7]);
    }

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
