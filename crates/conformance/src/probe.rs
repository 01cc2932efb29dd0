//! A watcher with its folded state, held to the laws of every stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};
use waypost_core::{BoxWatcher, Change, Error, Event, Instance, InstanceKey, Registry, WatchScope};

use crate::check::{Check, Stop, listed};

/// How many of the latest events a failure text shows.
const REMEMBERED: usize = 6;

/// Records by key.
pub(crate) type State = BTreeMap<InstanceKey, Arc<Instance>>;

/// What a watcher said when asked.
#[derive(Debug)]
pub(crate) enum Told {
    /// An event, folded into the state already.
    Event(Event),
    /// The watch ended with this error, and stayed ended.
    Ended(Error),
    /// Nothing, for as long as one waited.
    Nothing,
}

/// Follows a watch and folds what it tells.
pub(crate) struct Probe {
    watcher: BoxWatcher,
    scope: WatchScope,
    state: State,
    latest: VecDeque<String>,
}

impl Probe {
    /// Starts a watch and reads its first event, which has to be a snapshot.
    pub(crate) async fn open(
        registry: &dyn Registry,
        scope: WatchScope,
        bound: Duration,
    ) -> Check<Self> {
        let started = timeout(bound, registry.watch(scope.clone())).await;
        let Ok(watcher) = started else {
            return Err(Stop::Failed(format!(
                "watch {scope} did not start within {bound:?}"
            )));
        };
        let mut probe = Self {
            watcher: watcher?,
            scope,
            state: State::new(),
            latest: VecDeque::new(),
        };
        match probe.next(bound).await? {
            Told::Event(Event::Snapshot(_)) => Ok(probe),
            told => Err(Stop::Failed(format!(
                "the first event of a watch has to be a snapshot within {bound:?}; seen: {told:?}"
            ))),
        }
    }

    /// What there is, as far as the watch told.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The records of the state, by key.
    pub(crate) fn records(&self) -> Vec<Instance> {
        self.state
            .values()
            .map(|instance| (**instance).clone())
            .collect()
    }

    /// Waits for the next event, `bound` at most.
    pub(crate) async fn next(&mut self, bound: Duration) -> Check<Told> {
        let Ok(told) = timeout(bound, self.watcher.next()).await else {
            return Ok(Told::Nothing);
        };
        match told {
            None => Err(Stop::failed("a watch ended without an error")),
            Some(Err(error)) => match timeout(bound, self.watcher.next()).await {
                Ok(None) => Ok(Told::Ended(error)),
                after => Err(Stop::Failed(format!(
                    "an error has to end a watch; after {error:?} it went on: {after:?}"
                ))),
            },
            Some(Ok(event)) => {
                self.remember(&event);
                self.fold(&event)?;
                Ok(Told::Event(event))
            }
        }
    }

    /// The next event that tells of something; an end of the watch fails.
    pub(crate) async fn news(&mut self, bound: Duration) -> Check<Option<Event>> {
        let deadline = Instant::now() + bound;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left).await? {
                Told::Event(Event::Confirmed) => {}
                Told::Event(event) => return Ok(Some(event)),
                Told::Nothing => return Ok(None),
                Told::Ended(error) => {
                    return Err(Stop::Failed(format!("a healthy watch ended: {error:?}")));
                }
            }
        }
    }

    /// Follows until `fault` finds nothing in the records, at most for `bound`.
    pub(crate) async fn until(
        &mut self,
        bound: Duration,
        mut fault: impl FnMut(&[Instance]) -> Option<String>,
    ) -> Check<Duration> {
        let start = Instant::now();
        while let Some(text) = fault(&self.records()) {
            let left = bound.saturating_sub(start.elapsed());
            if self.news(left).await?.is_none() {
                return Err(Stop::Failed(format!(
                    "{text}; the watch of {} still says so after {bound:?}: {}; its latest events: {:?}",
                    self.scope,
                    listed(&self.records()),
                    self.latest
                )));
            }
        }
        Ok(start.elapsed())
    }

    /// Takes whatever comes until nothing comes for `quiet`, at most for `bound`.
    pub(crate) async fn drain(&mut self, quiet: Duration, bound: Duration) -> Check<Vec<Event>> {
        let end = Instant::now() + bound;
        let mut events = Vec::new();
        while let Ok(told) = timeout_at(end, self.news(quiet)).await {
            match told? {
                Some(event) => events.push(event),
                None => break,
            }
        }
        Ok(events)
    }

    fn fold(&mut self, event: &Event) -> Check {
        match event {
            Event::Snapshot(instances) => {
                self.state = instances.iter().map(|i| (i.key(), Arc::clone(i))).collect();
                if self.state.len() != instances.len() {
                    return Err(Stop::Failed(format!(
                        "a snapshot has a key twice: {event:?}"
                    )));
                }
            }
            Event::Changed(changes) => {
                for change in changes {
                    match change {
                        Change::Upsert(instance) => {
                            self.state.insert(instance.key(), Arc::clone(instance));
                        }
                        Change::Remove(key) => {
                            self.state.remove(key);
                        }
                    }
                }
            }
            Event::Confirmed => {}
        }
        match self
            .state
            .keys()
            .find(|key| !self.scope.covers(&key.service))
        {
            None => Ok(()),
            Some(key) => Err(Stop::Failed(format!(
                "a watch of {} told of {key}",
                self.scope
            ))),
        }
    }

    fn remember(&mut self, event: &Event) {
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(match event {
            Event::Snapshot(instances) => format!("snapshot of {}", instances.len()),
            Event::Changed(changes) => {
                let keys: Vec<_> = changes
                    .iter()
                    .take(4)
                    .map(|change| match change {
                        Change::Upsert(instance) => format!("+{}", instance.key()),
                        Change::Remove(key) => format!("-{key}"),
                    })
                    .collect();
                format!("{} changed: {}", changes.len(), keys.join(" "))
            }
            Event::Confirmed => "confirmed".to_owned(),
        });
    }
}
