//! A raw watch: what the registry tells, applied to a map, without the house's directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use waypost_core::{Change, Error, Event, NodeId, Registry, Result, ServiceName, WatchScope};

use crate::history::History;
use crate::random::record::What;

use super::{Eye, Set, difference};

/// The pause before a broken watch is opened anew.
const PAUSE: Duration = Duration::from_millis(250);

/// Follows a service by the contract alone: apply events, and after an error watch anew.
#[derive(Debug)]
pub struct Watched {
    name: String,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    set: Set,
    begun: bool,
    open: bool,
    writes: BTreeMap<NodeId, usize>,
    failures: Vec<(Instant, Error)>,
    removed: usize,
    wrongs: Vec<String>,
}

impl Watched {
    /// Begins to watch `service`.
    #[must_use]
    pub fn start(
        name: &str,
        registry: Arc<dyn Registry>,
        service: ServiceName,
        history: History,
    ) -> Self {
        let state = Arc::default();
        let follower = Follower {
            name: name.to_owned(),
            state: Arc::clone(&state),
            history,
        };
        Self {
            name: name.to_owned(),
            state,
            task: tokio::spawn(follower.run(registry, service)).abort_handle(),
        }
    }

    /// Forgets failures, removals and wrongs of before.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.failures.clear();
        state.wrongs.clear();
        state.writes.clear();
        state.removed = 0;
    }

    /// When and why the watch ended, each time.
    #[must_use]
    pub fn failures(&self) -> Vec<(Instant, Error)> {
        self.lock().failures.clone()
    }

    /// Its name in the timeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a watch is open and has told its first snapshot.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().open
    }

    /// How often a record of `node` was told, snapshots aside.
    #[must_use]
    pub fn writes(&self, node: &str) -> usize {
        let state = self.lock();
        let found = state.writes.iter().find(|(id, _)| id.as_str() == node);
        found.map_or(0, |(_, writes)| *writes)
    }

    /// How many removals were told.
    #[must_use]
    pub fn removed(&self) -> usize {
        self.lock().removed
    }

    /// What broke the laws of a watch.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Eye for Watched {
    fn name(&self) -> &str {
        Watched::name(self)
    }

    fn sees(&self, _since: Instant) -> Option<Set> {
        let state = self.lock();
        state.begun.then(|| state.set.clone())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    name: String,
    state: Arc<Mutex<State>>,
    history: History,
}

impl Follower {
    async fn run(self, registry: Arc<dyn Registry>, service: ServiceName) {
        loop {
            let ended = self.follow(&*registry, &service).await;
            let error = ended
                .err()
                .unwrap_or_else(|| Error::unavailable("it ended"));
            let was_open = self.change(|state| std::mem::take(&mut state.open));
            if was_open {
                let why = error.chain();
                self.history.note(&self.name, format!("ends: {why}"));
            }
            self.history.tell(&self.name, || What::Ended {
                error: error.chain(),
            });
            self.change(|state| state.failures.push((Instant::now(), error)));
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self, registry: &dyn Registry, service: &ServiceName) -> Result<()> {
        let scope = WatchScope::Service(service.clone());
        self.history.tell(&self.name, || What::Opening);
        let mut watcher = registry.watch(scope).await?;
        let mut first = true;
        while let Some(event) = watcher.next().await {
            let event = event?;
            self.history.tell(&self.name, || What::told(&event));
            self.take(event, first);
            first = false;
        }
        Ok(())
    }

    fn take(&self, event: Event, first: bool) {
        let (mut now, before) = self.change(|state| (state.set.clone(), state.set.clone()));
        let mut removed = 0;
        let mut written = Vec::new();
        let is_snapshot = matches!(event, Event::Snapshot(_));
        match event {
            Event::Snapshot(all) => {
                now = all
                    .into_iter()
                    .map(|one| (one.node.id.clone(), one))
                    .collect();
            }
            Event::Changed(changes) => {
                for change in changes {
                    match change {
                        Change::Upsert(one) => {
                            written.push(one.node.id.clone());
                            now.insert(one.node.id.clone(), one);
                        }
                        Change::Remove(key) => {
                            removed += usize::from(now.remove(&key.node).is_some());
                        }
                    }
                }
            }
            Event::Confirmed => {}
        }
        let news = difference(&before, &now);
        if is_snapshot || !news.is_empty() {
            let word = if is_snapshot { "snapshot" } else { "change" };
            self.history
                .note(&self.name, format!("{word}: {} nodes {news}", now.len()));
        }
        self.change(|state| {
            if first && !is_snapshot {
                state
                    .wrongs
                    .push("a watch did not begin with a snapshot".to_owned());
            }
            state.begun = true;
            state.open = true;
            for node in written {
                *state.writes.entry(node).or_default() += 1;
            }
            state.removed += removed;
            state.set = now;
        });
    }

    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
