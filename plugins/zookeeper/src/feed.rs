//! Hints that something has changed, from either kind of watch that servers have.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use waypost_core::WatchScope;
use zookeeper_client::{AddWatchMode, Error as Told, EventType, PersistentWatcher};

use crate::alarms::Alarm;
use crate::read::{Place, top};
use crate::session::Core;

/// A stream of places to read again.
pub(crate) enum Feed {
    /// One watch on everything below a directory; servers since 3.6. It tells nothing of what
    /// happens while the connection is lost, and is dead after that.
    Recursive(PersistentWatcher),
    /// A watch on each directory and each record, which tells once and is set anew by reading.
    Oneshot(Shots),
}

/// The watches that have not told yet.
#[derive(Default)]
pub(crate) struct Shots {
    pending: FuturesUnordered<BoxFuture<'static, (Place, bool)>>,
    armed: BTreeSet<Place>,
    /// Set by reads, not waited for yet.
    set: Mutex<Vec<(Place, Alarm)>>,
}

impl Feed {
    /// Begins to watch a scope.
    pub(crate) async fn open(session: &Core, scope: &WatchScope) -> Result<Self, Told> {
        if !session.config().lacks_recursive_watches() {
            let top = top(&session.config().prefix, scope);
            let watch = session
                .client()
                .watch(&top, AddWatchMode::PersistentRecursive);
            match watch.await {
                Err(Told::Unimplemented) => session.config().found_no_recursive_watches(),
                result => return result.map(Self::Recursive),
            }
        }
        Ok(Self::Oneshot(Shots::default()))
    }

    /// Where reads put the alarms that this feed needs.
    pub(crate) fn alarms(&self) -> Option<&Mutex<Vec<(Place, Alarm)>>> {
        match self {
            Self::Recursive(_) => None,
            Self::Oneshot(shots) => Some(&shots.set),
        }
    }

    /// Whether a change of `place` will be told though it is not read now.
    pub(crate) fn is_watched(&self, place: &Place) -> bool {
        match self {
            Self::Recursive(_) => false,
            Self::Oneshot(shots) => shots.armed.contains(place),
        }
    }

    /// The next place to read again; nothing when the watch has ended. Must not be called again
    /// then.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self, session: &Core) -> Option<Place> {
        match self {
            Self::Recursive(watcher) => loop {
                let event = watcher.changed().await;
                if event.event_type == EventType::Session {
                    return None;
                }
                // Of directories nothing is to be known that their records do not tell.
                if session.config().prefix.parse(&event.path).is_some() {
                    return Some(Place::Record(event.path));
                }
            },
            Self::Oneshot(shots) => shots.next().await,
        }
    }
}

impl Shots {
    async fn next(&mut self) -> Option<Place> {
        self.wait_for_new();
        match self.pending.next().await {
            // Nothing is watched: whoever reads next sets watches.
            None => std::future::pending().await,
            Some((_, false)) => None,
            Some((place, true)) => {
                self.armed.remove(&place);
                Some(place)
            }
        }
    }

    /// Takes over what reads have set.
    pub(crate) fn wait_for_new(&mut self) {
        let set = self.set.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (place, alarm) in set.drain(..) {
            self.armed.insert(place.clone());
            let told = async move { (place, alarm.await) };
            self.pending.push(told.boxed());
        }
    }
}
