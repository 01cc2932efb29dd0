//! Follows a map by comparing what it read before with what there is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use waypost_conformance::Cut;
use waypost_core::{
    BoxWatcher, Change, Error, ErrorKind, Event, Instance, InstanceKey, Result, WatchScope,
};

use super::Flaw;
use super::registry::MapRegistry;

/// How long a silent backend is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

type Known = BTreeMap<InstanceKey, Arc<Instance>>;

struct Watching {
    registry: MapRegistry,
    scope: WatchScope,
    changes: watch::Receiver<u64>,
    cut: watch::Receiver<Option<Cut>>,
    known: Option<Known>,
    waiting: VecDeque<Event>,
    /// Whether something was written since the last look.
    news: bool,
    /// What was gone before the watch began, and is told of all the same.
    ghosts: Known,
    /// Whether the first change after the snapshot is through.
    begun: bool,
}

pub(crate) fn watch(registry: MapRegistry, scope: WatchScope) -> BoxWatcher {
    if registry.has(Flaw::LeaksATaskAWatch) {
        tokio::spawn(std::future::pending::<()>());
    }
    let watching = Watching {
        changes: registry.map.changes.subscribe(),
        cut: registry.map.cut.subscribe(),
        registry,
        scope,
        known: None,
        waiting: VecDeque::new(),
        news: false,
        ghosts: Known::new(),
        begun: false,
    };
    if watching.registry.has(Flaw::QueuesWithoutBound) {
        return queued(watching);
    }
    Box::pin(stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(event) => Some((Ok(event), Some(watching))),
            Err(error) if watching.registry.has(Flaw::GoesOnAfterAnError) => {
                Some((Err(error), Some(watching)))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Reads ahead of its reader, event by event.
fn queued(mut watching: Watching) -> BoxWatcher {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = watching.next() => event,
                () = sender.closed() => return,
            };
            let ended = event.is_err();
            if sender.send(event).is_err() || ended {
                return;
            }
        }
    });
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (event, receiver))
    }))
}

impl Watching {
    async fn next(&mut self) -> Result<Event> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        loop {
            self.news = self.changes.has_changed().unwrap_or(false);
            self.changes.borrow_and_update();
            if let Some(event) = self.reachable().await? {
                return Ok(event);
            }
            let (_, expiry) = self.registry.map.read(false);
            if let Some(event) = self.look() {
                return Ok(event);
            }
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = self.cut.changed() => {}
                () = at(expiry) => {}
            }
        }
    }

    /// Ends the watch when the backend is gone.
    async fn reachable(&mut self) -> Result<Option<Event>> {
        let cut = *self.cut.borrow_and_update();
        match cut {
            None => Ok(None),
            Some(_) if self.registry.has(Flaw::EmptiesOnError) => {
                if self.known.as_ref().is_none_or(|known| !known.is_empty()) {
                    self.known = Some(Known::new());
                    return Ok(Some(Event::Snapshot(Vec::new())));
                }
                sleep(PATIENCE).await;
                Ok(Some(Event::Confirmed))
            }
            Some(Cut::Silence) if self.registry.has(Flaw::StaysSilent) => {
                let _ = self.cut.changed().await;
                Ok(None)
            }
            Some(Cut::Silence) => {
                sleep(PATIENCE).await;
                Err(Error::new(ErrorKind::Timeout, "no answer to a ping"))
            }
            Some(Cut::Refuse) => Err(Error::unavailable("connection reset")),
        }
    }

    /// What is different from what is known.
    fn look(&mut self) -> Option<Event> {
        let flaw = self.registry.flaw;
        let mut now: Known = self
            .registry
            .believed()
            .into_iter()
            .filter(|each| self.covers(each))
            .map(|each| (each.key(), Arc::new(each)))
            .collect();
        if flaw == Some(Flaw::SwallowsMissedDeletes) {
            self.never_forget(&mut now);
        }
        let Some(known) = self.known.replace(now) else {
            return Some(self.first());
        };
        let mut changes = Vec::new();
        let now = self.known.as_ref()?;
        for (key, instance) in now {
            if known.get(key) != Some(instance) {
                changes.push(Change::Upsert(Arc::clone(instance)));
            }
        }
        changes.extend(
            known
                .keys()
                .filter(|key| !now.contains_key(*key))
                .cloned()
                .map(Change::Remove),
        );
        match flaw {
            Some(Flaw::LosesWhatFollowsTheSnapshot)
                if !std::mem::replace(&mut self.begun, true) =>
            {
                changes.clear();
            }
            Some(Flaw::LosesTheSecondEventOfABatch) if changes.len() > 1 => {
                changes.remove(1);
            }
            Some(Flaw::TellsRenewals) if changes.is_empty() && self.news => {
                changes.extend(now.values().cloned().map(Change::Upsert));
            }
            Some(Flaw::SplitsBatches) if changes.len() > 1 => {
                let events = changes
                    .drain(1..)
                    .map(|change| Event::Changed(vec![change]));
                self.waiting.extend(events);
            }
            _ => {}
        }
        (!changes.is_empty()).then_some(Event::Changed(changes))
    }

    fn covers(&self, instance: &Instance) -> bool {
        self.scope.covers(&instance.service) || self.registry.has(Flaw::TellsOfOtherServices)
    }

    /// The first event; the state that goes with it is known by now.
    fn first(&mut self) -> Event {
        let all: Vec<_> = self.known.iter().flat_map(Known::values).cloned().collect();
        match self.registry.flaw {
            Some(Flaw::BeginsWithChanges) => {
                Event::Changed(all.into_iter().map(Change::Upsert).collect())
            }
            _ => Event::Snapshot(all),
        }
    }

    fn never_forget(&mut self, now: &mut Known) {
        let mut memory = self
            .registry
            .memory
            .lock()
            .expect("no panic under the lock");
        if self.known.is_none() {
            self.ghosts = memory.clone();
        }
        memory.extend(now.clone());
        for (key, instance) in &self.ghosts {
            now.entry(key.clone())
                .or_insert_with(|| Arc::clone(instance));
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
