//! The bounded way from a backend's stream to a watcher.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tokio::sync::watch;
use waypost_core::{Error, ErrorKind, Event, Result};

use crate::Task;
use crate::queue::Queue;

/// A channel of [`Event`]s that holds at most about `capacity` changes as they came.
///
/// Publishing never waits. When a reader is slower than that, what it has not read yet is folded
/// to the latest state of each record, so that memory stays bounded by what the reader knows and
/// what there is now, and the reader ends with the right state.
#[must_use]
pub fn channel(capacity: usize) -> (Publisher, Events) {
    let shared = Arc::new(Mutex::new(Shared {
        queue: Queue::new(capacity),
        end: None,
        reader: None,
    }));
    let (open, held) = watch::channel(());
    let publisher = Publisher {
        shared: Arc::clone(&shared),
        open,
    };
    let events = Events {
        shared,
        done: false,
        _open: held,
        _task: None,
    };
    (publisher, events)
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    end: Option<Error>,
    reader: Option<Waker>,
}

type Lock = Mutex<Shared>;

fn lock(shared: &Lock) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writing end of a [`channel`]. Dropped without [`Publisher::fail`], it ends the stream with
/// [`ErrorKind::Closed`].
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Lock>,
    open: watch::Sender<()>,
}

impl Publisher {
    /// Hands an event to the reader, without waiting. A [`Event::Changed`] without changes is
    /// left out.
    pub fn publish(&self, event: Event) {
        self.with(|shared| {
            if shared.end.is_none() {
                shared.queue.push(event);
            }
        });
    }

    /// Ends the stream with `error`, after everything published before. What comes later is
    /// ignored.
    pub fn fail(&self, error: Error) {
        self.with(|shared| {
            shared.end.get_or_insert(error);
        });
    }

    /// Whether the stream was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.open.is_closed()
    }

    /// Resolves when the stream is dropped.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) {
        self.open.closed().await;
    }

    fn with(&self, change: impl FnOnce(&mut Shared)) {
        let reader = {
            let mut shared = lock(&self.shared);
            change(&mut shared);
            shared.reader.take()
        };
        // Woken outside of the lock, which the reader takes first.
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.fail(Error::new(
            ErrorKind::Closed,
            "what fed this watch has ended",
        ));
    }
}

/// The reading end of a [`channel`]: a [`Watcher`](waypost_core::Watcher).
#[derive(Debug)]
pub struct Events {
    shared: Arc<Lock>,
    done: bool,
    _open: watch::Receiver<()>,
    _task: Option<Task>,
}

impl Events {
    /// Gives the stream the task that feeds it, so that the task ends when the stream is dropped.
    #[must_use]
    pub fn fed_by(mut self, task: Task) -> Self {
        self._task = Some(task);
        self
    }
}

impl Stream for Events {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut shared = lock(&self.shared);
        if let Some(event) = shared.queue.pop() {
            return Poll::Ready(Some(Ok(event)));
        }
        let Some(error) = shared.end.clone() else {
            shared.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(shared);
        self.done = true;
        Poll::Ready(Some(Err(error)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn a_reader_is_woken_and_an_error_ends_the_stream_after_what_came_before() {
        let (publisher, mut events) = channel(8);
        let reader = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(event) = events.next().await {
                seen.push(event.map_err(|error| error.kind()));
            }
            seen
        });
        tokio::task::yield_now().await;
        publisher.publish(Event::Snapshot(Vec::new()));
        publisher.publish(Event::Confirmed);
        publisher.fail(Error::unavailable("gone"));
        publisher.publish(Event::Confirmed);
        drop(publisher);
        let seen = reader.await.expect("reader");
        assert_eq!(
            seen,
            [
                Ok(Event::Snapshot(Vec::new())),
                Ok(Event::Confirmed),
                Err(ErrorKind::Unavailable)
            ]
        );
    }

    #[tokio::test]
    async fn dropping_the_publisher_closes_the_stream() {
        let (publisher, mut events) = channel(8);
        drop(publisher);
        let error = events.next().await.expect("event").expect_err("closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_stream_is_seen_and_ends_its_task() {
        let (publisher, events) = channel(8);
        assert!(!publisher.is_closed());
        assert!(publisher.closed().now_or_never().is_none());
        let (alive, mut ended) = watch::channel(());
        let events = events.fed_by(Task::spawn(async move {
            alive.closed().await;
            std::future::pending::<()>().await;
        }));
        drop(events);
        publisher.closed().await;
        assert!(publisher.is_closed());
        assert!(ended.changed().await.is_err(), "the task is gone");
    }
}
