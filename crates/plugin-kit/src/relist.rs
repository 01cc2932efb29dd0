//! The one paced relist of the house, for what must be polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream::{self, Fuse};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};
use waypost_core::{BoxWatcher, Event, Instance, Result};

use crate::Known;

/// Least time from one listing to the next, so that a burst of hints costs a few listings.
const GAP: Duration = Duration::from_millis(20);

/// What a registry holds at one moment.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// All live records within the watched scope.
    pub instances: Vec<Arc<Instance>>,
    /// When the first of them expires unless somebody renews it, if that is known.
    pub expires: Option<Instant>,
}

impl Listing {
    /// A listing without a known deadline.
    pub fn new<I>(instances: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Arc<Instance>>,
    {
        Self {
            instances: instances.into_iter().map(Into::into).collect(),
            expires: None,
        }
    }

    /// Names the moment at which to list again at the latest.
    #[must_use]
    pub fn with_expiry(mut self, expires: Option<Instant>) -> Self {
        self.expires = expires;
        self
    }
}

/// Watches by listing: soon after a hint, when a known deadline passes, and at least every `wake`
/// (give or take a tenth, so that processes do not move in step).
///
/// The first event is a snapshot; each later listing gives what has changed, or
/// [`Event::Confirmed`]. An `Err` of `list` ends the stream. Listings are never closer than 20 ms,
/// nor closer than the last one took. Nothing happens while nobody reads the stream, and nothing
/// is queued: a slow reader finds the latest state.
pub fn relist<L, F, H>(list: L, hints: H, wake: Duration) -> BoxWatcher
where
    L: FnMut() -> F + Send + 'static,
    F: Future<Output = Result<Listing>> + Send + 'static,
    H: Stream<Item = ()> + Send + 'static,
{
    let pace = Pace {
        list,
        hints: Box::pin(hints).fuse(),
        wake,
        known: None,
        due: Instant::now(),
        earliest: Instant::now(),
        ended: false,
    };
    Box::pin(stream::unfold(pace, |mut pace| async move {
        let event = pace.next().await?;
        Some((event, pace))
    }))
}

struct Pace<L, H> {
    list: L,
    hints: Fuse<Pin<Box<H>>>,
    wake: Duration,
    known: Option<Known>,
    /// When to list without a hint.
    due: Instant,
    /// When to list at the earliest.
    earliest: Instant,
    ended: bool,
}

impl<L, F, H> Pace<L, H>
where
    L: FnMut() -> F,
    F: Future<Output = Result<Listing>>,
    H: Stream<Item = ()>,
{
    async fn next(&mut self) -> Option<Result<Event>> {
        if self.ended {
            return None;
        }
        if self.known.is_some() {
            self.wait().await;
        }
        // Hints given until now are answered by the listing that begins now.
        while let Some(Some(())) = self.hints.next().now_or_never() {}
        let began = Instant::now();
        let listing = match (self.list)().await {
            Ok(listing) => listing,
            Err(error) => {
                self.ended = true;
                return Some(Err(error));
            }
        };
        self.schedule(began, listing.expires);
        Some(Ok(self.take(listing)))
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = sleep_until(self.due) => {}
            Some(()) = self.hints.next() => {}
        }
        sleep_until(self.earliest).await;
    }

    fn schedule(&mut self, began: Instant, expires: Option<Instant>) {
        let now = Instant::now();
        let spread = 0.9 + 0.2 * fastrand::f64();
        let paced = now + self.wake.mul_f64(spread);
        self.due = expires.map_or(paced, |expires| paced.min(expires));
        self.earliest = now + (now - began).max(GAP);
    }

    fn take(&mut self, listing: Listing) -> Event {
        let Some(known) = &mut self.known else {
            let known = Known::from_iter(listing.instances);
            let all = known.instances();
            self.known = Some(known);
            return Event::Snapshot(all);
        };
        let changes = known.replace(listing.instances);
        if changes.is_empty() {
            Event::Confirmed
        } else {
            Event::Changed(changes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use waypost_core::{Address, Change, Error, ErrorKind, Node, NodeId, ServiceName};

    use super::*;
    use crate::{Hinter, hints};

    fn instance(node: &str) -> Instance {
        let node = Node::new(
            NodeId::new(node).expect("id"),
            Address::new("10.0.0.1:80").expect("address"),
        );
        Instance::new(ServiceName::new("orders").expect("name"), node)
    }

    type Backend = Arc<Mutex<(Result<Listing>, usize)>>;

    fn watch(wake: Duration) -> (Backend, Hinter, BoxWatcher) {
        let backend: Backend = Arc::new(Mutex::new((Ok(Listing::default()), 0)));
        let (hinter, hints) = hints();
        let source = Arc::clone(&backend);
        let list = move || {
            let mut backend = source.lock().expect("lock");
            backend.1 += 1;
            std::future::ready(backend.0.clone())
        };
        (backend, hinter, relist(list, hints, wake))
    }

    fn set(backend: &Backend, listing: Result<Listing>) {
        backend.lock().expect("lock").0 = listing;
    }

    async fn next(watcher: &mut BoxWatcher) -> Event {
        watcher.next().await.expect("event").expect("no error")
    }

    #[tokio::test(start_paused = true)]
    async fn it_begins_with_a_snapshot_and_confirms_at_least_every_wake() {
        let wake = Duration::from_secs(10);
        let (_, _hinter, mut watcher) = watch(wake);
        assert_eq!(next(&mut watcher).await, Event::Snapshot(Vec::new()));
        let before = Instant::now();
        assert_eq!(next(&mut watcher).await, Event::Confirmed);
        let took = before.elapsed();
        assert!(
            took >= wake.mul_f64(0.9) && took <= wake.mul_f64(1.1) + GAP,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_answered_soon_and_a_burst_by_few_listings() {
        let (backend, hinter, mut watcher) = watch(Duration::from_secs(10));
        next(&mut watcher).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        set(&backend, Ok(Listing::new([instance("a")])));
        hinter.hint();
        let before = Instant::now();
        let changes = vec![Change::Upsert(instance("a").into())];
        assert_eq!(next(&mut watcher).await, Event::Changed(changes));
        assert!(before.elapsed() < Duration::from_millis(5));

        let burst = tokio::spawn(async move {
            for _ in 0..500 {
                hinter.hint();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        while !burst.is_finished() {
            next(&mut watcher).await;
        }
        let listings = backend.lock().expect("lock").1;
        assert!(listings < 50, "{listings}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_told_when_it_passes() {
        let (backend, _hinter, mut watcher) = watch(Duration::from_secs(60));
        let expires = Instant::now() + Duration::from_millis(700);
        set(
            &backend,
            Ok(Listing::new([instance("a")]).with_expiry(Some(expires))),
        );
        next(&mut watcher).await;
        set(&backend, Ok(Listing::default()));
        let change = Change::Remove(instance("a").key());
        assert_eq!(next(&mut watcher).await, Event::Changed(vec![change]));
        assert!(Instant::now() < expires + Duration::from_millis(25));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_the_stream() {
        let (backend, hinter, mut watcher) = watch(Duration::from_secs(1));
        next(&mut watcher).await;
        set(&backend, Err(Error::unavailable("gone")));
        let error = watcher.next().await.expect("event").expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        hinter.hint();
        assert!(watcher.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_when_nobody_hints_any_more() {
        let (_, hinter, mut watcher) = watch(Duration::from_secs(1));
        drop(hinter);
        next(&mut watcher).await;
        assert_eq!(next(&mut watcher).await, Event::Confirmed);
    }
}
