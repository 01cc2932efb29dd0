//! A snapshot, and everything after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt;
use waypost_core::{BoxWatcher, Change, Error, Event, SkipLog, WatchScope};
use waypost_plugin_kit::{Publisher, Task, channel};
use zookeeper_client::{Error as Told, StateWatcher};

use crate::config::DRIVER;
use crate::error;
use crate::feed::Feed;
use crate::read::{Found, Place, Reader, top};
use crate::session::Session;
use crate::view::View;

/// Changes that a slow reader finds as they came; more are folded to the latest state.
const CAPACITY: usize = 128;

/// Follows `scope` until the connection is lost: no watch tells what happened meanwhile.
///
/// # Cancel safety
/// Safe.
pub(crate) async fn follow(
    session: Arc<Session>,
    scope: WatchScope,
    skipped: SkipLog,
) -> Result<BoxWatcher, Told> {
    let states = session.client().state_watcher();
    // First the watch, then the snapshot: what changes in between is read twice, and not missed.
    let feed = Feed::open(&session, &scope).await?;
    let top = top(&session.config().prefix, &scope);
    let mut follower = Follower {
        session,
        skipped,
        states,
        feed,
        view: View::new(scope),
        dirty: BTreeSet::from([Place::Directory(top)]),
    };
    follower.begin().await?;
    let (publisher, events) = channel(CAPACITY);
    publisher.publish(Event::Snapshot(follower.view.records()));
    let task = Task::spawn(follower.run(publisher));
    Ok(Box::pin(events.fed_by(task)))
}

struct Follower {
    session: Arc<Session>,
    skipped: SkipLog,
    states: StateWatcher,
    feed: Feed,
    view: View,
    /// What is to be read again, each place once however many hints came.
    dirty: BTreeSet<Place>,
}

impl Follower {
    /// Reads all there is.
    async fn begin(&mut self) -> Result<(), Told> {
        // A follower may be behind; its answers after this one are not. Sent before them.
        let session = Arc::clone(&self.session);
        let synced = session.client().sync("/");
        let mut denied = false;
        while !self.dirty.is_empty() {
            let places = std::mem::take(&mut self.dirty);
            let found = self.reader().read(places).await?;
            denied |= found.iter().any(|found| matches!(found, Found::Denied(_)));
            self.take(found);
        }
        synced.await?;
        match denied && self.view.is_empty() {
            true => Err(Told::NoAuth),
            false => Ok(()),
        }
    }

    async fn run(mut self, publisher: Publisher) {
        let end = loop {
            match self.step().await {
                Ok(changes) => publisher.publish(Event::Changed(changes)),
                Err(end) => break end,
            }
        };
        let scope = self.view.scope();
        publisher.fail(end.with_operation("watch", scope).with_driver(DRIVER.name));
    }

    /// Waits for hints and reads what they point at, each znode once.
    async fn step(&mut self) -> Result<Vec<Change>, Error> {
        if self.dirty.is_empty() {
            let hint = tokio::select! {
                hint = self.feed.next(&self.session) => hint.ok_or_else(lost)?,
                _ = self.states.changed() => return Err(lost()),
            };
            self.dirty.insert(hint);
            self.take_hints()?;
        }
        let found = self.read_dirty().await?;
        let mut changes = self.take(found);
        // Hints come before the answer to whatever was asked after the change: all that changed
        // in the same transaction is known by now, and is told together.
        self.take_hints()?;
        if !self.dirty.is_empty() {
            let found = self.read_dirty().await?;
            changes.extend(self.take(found));
        }
        Ok(changes)
    }

    /// Takes the hints that have come already.
    fn take_hints(&mut self) -> Result<(), Error> {
        while let Some(hint) = self.feed.next(&self.session).now_or_never() {
            self.dirty.insert(hint.ok_or_else(lost)?);
        }
        Ok(())
    }

    /// Reads all that is dirty. Further hints are taken meanwhile: the client would keep every one
    /// of them, and we only one a place.
    async fn read_dirty(&mut self) -> Result<Vec<Found>, Error> {
        let places = std::mem::take(&mut self.dirty);
        if let Feed::Oneshot(_) = self.feed {
            // Each of these watches tells once, and is kept by whoever waits for it.
            let read = self.reader().read(places).await;
            return read.map_err(|told| error::translate(&told));
        }
        let (session, skipped) = (Arc::clone(&self.session), self.skipped.clone());
        let reader = Reader {
            session: &session,
            skipped: &skipped,
            alarms: None,
        };
        let mut reading = std::pin::pin!(reader.read(places));
        loop {
            tokio::select! {
                found = &mut reading => return found.map_err(|told| error::translate(&told)),
                hint = self.feed.next(&session) => {
                    self.dirty.insert(hint.ok_or_else(lost)?);
                }
                _ = self.states.changed() => return Err(lost()),
            }
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            session: &self.session,
            skipped: &self.skipped,
            alarms: self.feed.alarms(),
        }
    }

    /// Takes over what was found, and tells what that changes.
    fn take(&mut self, found: Vec<Found>) -> Vec<Change> {
        if let Feed::Oneshot(shots) = &mut self.feed {
            shots.wait_for_new();
        }
        let mut changes = Vec::new();
        for found in found {
            match found {
                Found::Places(places) => {
                    let feed = &self.feed;
                    let unseen = places.into_iter().filter(|place| !feed.is_watched(place));
                    self.dirty.extend(unseen);
                }
                Found::Record(path, record) => changes.extend(self.view.set(path, Some(record))),
                Found::Nothing(path) | Found::Denied(path) => {
                    changes.extend(self.view.set(path, None));
                }
            }
        }
        changes
    }
}

fn lost() -> Error {
    Error::unavailable("the connection to the server was lost, and with it the watch")
}
