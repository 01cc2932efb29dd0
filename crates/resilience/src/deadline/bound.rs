//! Work that ends at a deadline.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::Deadline;

/// The deadline passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired;

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Expired {}

pin_project! {
    /// Work that is dropped at its deadline: what [`Deadline::bound`] returns.
    ///
    /// The clock is read before each poll, so that work which always has something to do cannot
    /// outrun it; the timer is set only once the work has to wait.
    pub struct Bounded<F> {
        #[pin]
        work: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        deadline: Option<Deadline>,
    }
}

impl<F> Bounded<F> {
    pub(crate) fn new(work: F, deadline: Option<Deadline>) -> Self {
        Self {
            work: Some(work),
            sleep: None,
            deadline,
        }
    }

    /// Work that is not to be started at all.
    pub(crate) fn expired() -> Self {
        Self {
            work: None,
            sleep: None,
            deadline: None,
        }
    }
}

impl<F> fmt::Debug for Bounded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = Result<F::Output, Expired>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(work) = this.work.as_mut().as_pin_mut() else {
            return Poll::Ready(Err(Expired));
        };
        if !this.deadline.is_some_and(Deadline::is_past) {
            if let Poll::Ready(output) = work.poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if poll_timer(this.sleep, *this.deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
        // Dropped here and not with the future, which its owner may keep.
        this.work.set(None);
        Poll::Ready(Err(Expired))
    }
}

/// Waits for the deadline with a timer that is made on the first wait.
fn poll_timer(
    mut sleep: Pin<&mut Option<Sleep>>,
    deadline: Option<Deadline>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(deadline) = deadline else {
        return Poll::Pending;
    };
    if sleep.is_none() {
        sleep.set(Some(sleep_until(deadline.at())));
    }
    match sleep.as_pin_mut() {
        Some(sleep) => sleep.poll(cx),
        None => Poll::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_whose_deadline_has_passed_is_never_polled() {
        let polled = Cell::new(false);
        let work = poll_fn(|_| {
            polled.set(true);
            Poll::Ready(())
        });
        let past = Deadline::from(Instant::now());
        assert_eq!(past.bound(work).await, Err(Expired));
        assert!(!polled.get());
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_at_the_deadline_though_the_future_is_kept() {
        struct Flag<'a>(&'a Cell<bool>);
        impl Drop for Flag<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = Cell::new(false);
        let flag = Flag(&dropped);
        let work = async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        let mut bounded = std::pin::pin!(Deadline::after(Duration::from_millis(50)).bound(work));
        assert_eq!(bounded.as_mut().await, Err(Expired));
        assert!(dropped.get());
        assert!(begun.elapsed() < Duration::from_millis(60));
        assert_eq!(bounded.await, Err(Expired), "asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_never_rests_cannot_outrun_the_clock() {
        let deadline = Deadline::after(Duration::from_millis(5));
        let mut polls = 0;
        let work = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let clock = async {
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_millis(10)).await;
        };
        let (bounded, ()) = tokio::join!(deadline.bound(work), clock);
        assert_eq!(bounded, Err(Expired));
        assert!(polls > 0);
    }
}
