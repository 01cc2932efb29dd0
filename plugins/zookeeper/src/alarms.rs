//! Watches that tell once, set together with a read.
//!
//! A server before 3.5 does not know how to remove a watch, and ends the connection of a client
//! that asks for it, which the client does whenever a watch is dropped before it has told. There
//! a watch is kept by its session until it tells, and whoever reads the same place meanwhile
//! shares it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, oneshot, watch};
use zookeeper_client::{Client, Error as Told, EventType, OneshotWatcher, Stat};

use crate::sane::sane;

/// Resolves once: to `true` when something has changed, to `false` when the watch has ended with
/// its session.
pub(crate) type Alarm = BoxFuture<'static, bool>;

/// What a read gave, and the alarm of what was read.
type Answer<T> = Result<(T, Alarm), Told>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Children,
    Data,
    Stat,
}

type Place = (Kind, String);

/// The watches of one session.
#[derive(Debug)]
pub(crate) struct Alarms {
    client: Client,
    kept: Option<Arc<Kept>>,
}

/// Watches that stay until they tell, by what they watch.
#[derive(Default)]
pub(crate) struct Kept {
    told: Mutex<HashMap<Place, watch::Receiver<bool>>>,
    waiting: Mutex<Vec<BoxFuture<'static, ()>>>,
    more: Notify,
}

impl Alarms {
    /// With `keep` no watch is ever removed.
    pub(crate) fn new(client: Client, keep: bool) -> Self {
        let kept = keep.then(Arc::default);
        Self { client, kept }
    }

    /// What has to be awaited for as long as the session lives.
    pub(crate) fn upkeep(&self) -> impl Future<Output = ()> + Send + use<> {
        let kept = self.kept.clone();
        async move {
            if let Some(kept) = kept {
                kept.keep().await;
            }
        }
    }

    /// The names below `path`; the alarm tells when there is one more or less, or none at all.
    pub(crate) async fn children(&self, path: &str) -> Answer<Vec<String>> {
        let (client, owned) = (self.client.clone(), path.to_owned());
        self.read(
            (Kind::Children, path.to_owned()),
            async || self.client.list_children(path).await,
            async move { client.list_and_watch_children(&owned).await },
        )
        .await
    }

    /// The content of `path`; the alarm tells when it is another, or gone.
    pub(crate) async fn data(&self, path: &str) -> Answer<Vec<u8>> {
        let (client, owned) = (self.client.clone(), path.to_owned());
        self.read(
            (Kind::Data, path.to_owned()),
            async || sane(self.client.get_data(path)).await.map(|(data, _)| data),
            async move {
                let read = sane(client.get_and_watch_data(&owned)).await;
                read.map(|(data, _, watcher)| (data, watcher))
            },
        )
        .await
    }

    /// What is known of `path`; the alarm tells when it comes, changes or goes.
    pub(crate) async fn stat(&self, path: &str) -> Answer<Option<Stat>> {
        let (client, owned) = (self.client.clone(), path.to_owned());
        self.read(
            (Kind::Stat, path.to_owned()),
            async || self.client.check_stat(path).await,
            async move { client.check_and_watch_stat(&owned).await },
        )
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        place: Place,
        plainly: impl AsyncFnOnce() -> Result<T, Told>,
        watched: impl Future<Output = Result<(T, OneshotWatcher), Told>> + Send + 'static,
    ) -> Answer<T> {
        let Some(kept) = &self.kept else {
            let (found, watcher) = watched.await?;
            return Ok((found, told(watcher).boxed()));
        };
        // What changes after this read sets off the watch that is there; had it told before the
        // read, there would be one read too many.
        if let Some(alarm) = kept.alarm(&place) {
            return Ok((plainly().await?, alarm));
        }
        let (answer, answered) = oneshot::channel();
        kept.add(place, answer, watched);
        // The alarm of this very read: somebody else's could be of a later one.
        let (found, alarm) = answered.await.map_err(|_| Told::ClientClosed)??;
        Ok((found, sounded(alarm)))
    }
}

fn sounded(mut told: watch::Receiver<bool>) -> Alarm {
    // Without a last word the session is gone.
    async move { told.wait_for(|told| *told).await.is_ok() }.boxed()
}

async fn told(watcher: OneshotWatcher) -> bool {
    watcher.changed().await.event_type != EventType::Session
}

impl Kept {
    fn told(&self) -> MutexGuard<'_, HashMap<Place, watch::Receiver<bool>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alarm(&self, place: &Place) -> Option<Alarm> {
        self.told().get(place).cloned().map(sounded)
    }

    /// Sets a watch that nobody's impatience removes.
    fn add<T: Send + 'static>(
        self: &Arc<Self>,
        place: Place,
        answer: oneshot::Sender<Result<(T, watch::Receiver<bool>), Told>>,
        watched: impl Future<Output = Result<(T, OneshotWatcher), Told>> + Send + 'static,
    ) {
        let kept = Arc::downgrade(self);
        let keeping = async move {
            let (found, watcher) = match watched.await {
                Ok(read) => read,
                Err(error) => return drop(answer.send(Err(error))),
            };
            let (teller, told_to) = watch::channel(false);
            if let Some(kept) = kept.upgrade() {
                kept.told().insert(place.clone(), told_to.clone());
            }
            // Nobody may wait any more; the watch is there all the same.
            drop(answer.send(Ok((found, told_to.clone()))));
            let changed = told(watcher).await;
            if let Some(kept) = kept.upgrade() {
                let mut all = kept.told();
                if all
                    .get(&place)
                    .is_some_and(|one| one.same_channel(&told_to))
                {
                    all.remove(&place);
                }
            }
            teller.send_replace(changed);
        };
        self.waiting().push(keeping.boxed());
        self.more.notify_one();
    }

    async fn keep(&self) {
        let mut all = FuturesUnordered::new();
        loop {
            all.extend(self.waiting().drain(..));
            tokio::select! {
                () = self.more.notified() => {}
                Some(()) = all.next() => {}
            }
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
