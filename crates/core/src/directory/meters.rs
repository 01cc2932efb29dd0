//! What is measured of one followed scope.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};

use crate::{Change, Event, WatchScope};

use super::Members;

/// The meters of one scope, found once: a change has no time to look for them.
pub(super) struct Meters {
    live: Gauge,
    fallback: Gauge,
    staleness: Gauge,
    snapshots: Counter,
    upserts: Counter,
    removals: Counter,
    failures: Counter,
}

impl Meters {
    pub(super) fn new(scope: &WatchScope) -> Self {
        let service = scope.to_string();
        let nodes = |state| gauge!("waypost_registry_nodes", "service" => service.clone(), "state" => state);
        let events = |kind| counter!("waypost_registry_events_total", "service" => service.clone(), "kind" => kind);
        Self {
            live: nodes("live"),
            fallback: nodes("fallback"),
            staleness: gauge!("waypost_registry_staleness_seconds", "service" => service.clone()),
            snapshots: events("snapshot"),
            upserts: events("upsert"),
            removals: events("remove"),
            failures: events("failure"),
        }
    }

    /// What the watch told.
    pub(super) fn heard(&self, event: &Event) {
        match event {
            Event::Snapshot(_) => self.snapshots.increment(1),
            Event::Changed(changes) => {
                for change in changes {
                    match change {
                        Change::Upsert(_) => self.upserts.increment(1),
                        Change::Remove(_) => self.removals.increment(1),
                    }
                }
            }
            Event::Confirmed => {}
        }
    }

    /// A watch began.
    pub(super) fn opened(&self) {
        self.snapshots.increment(1);
    }

    /// The watch ended, or none could be opened.
    pub(super) fn failed(&self) {
        self.failures.increment(1);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "nodes are not counted in billions of millions"
    )]
    pub(super) fn published(&self, members: &Members) {
        self.live.set(members.len() as f64);
        self.fallback.set(members.fallback().count() as f64);
    }

    /// How long what is read has not been the registry's present state.
    pub(super) fn stale_for(&self, time: Duration) {
        self.staleness.set(time.as_secs_f64());
    }
}
