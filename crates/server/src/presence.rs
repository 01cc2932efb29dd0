//! The service's record: there while the service wants it, and proven by a lookup.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{
    BoxWatcher, Change, Event, Instance, Registration, RegistrationOptions, Registry, Result,
    Standing, State, WatchScope,
};

use crate::board::{Board, Phase, View};

/// How long a watch may take to show the record before a lookup is asked alone.
const SIGHT: Duration = Duration::from_secs(2);
/// The pause between two lookups that did not find the record.
const PAUSE: Duration = Duration::from_millis(100);
/// Every state, for the gauge that shows which one holds.
const STATES: [State; 5] = [
    State::Registering,
    State::Live,
    State::Degraded,
    State::Lost,
    State::Released,
];

/// Keeps one record as the board wants it.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) instance: Instance,
    pub(crate) options: RegistrationOptions,
    pub(crate) board: Board,
}

impl Keeper {
    /// Registers and deregisters until the service leaves; the result of the last release.
    ///
    /// # Errors
    /// When the registration cannot be started at all, or when the registry could not be told of
    /// the end; the record then goes with its ttl.
    ///
    /// # Cancel safety
    /// When dropped, the record goes with its ttl.
    pub(crate) async fn run(self) -> Result<()> {
        let mut views = self.board.watch();
        loop {
            if !wanted_or_leaving(&mut views).await {
                return Ok(());
            }
            let (registry, options) = (Arc::clone(&self.registry), self.options.clone());
            let registration = Registration::start(registry, self.instance.clone(), options)?;
            self.hold(registration.standing(), &mut views).await;
            let released = registration.release().await;
            self.publish(None);
            if views.borrow_and_update().phase == Phase::Leaving {
                return released;
            }
            if let Err(error) = released {
                let key = self.instance.key();
                tracing::warn!(%key, error = error.chain(), "could not deregister");
            }
        }
    }

    async fn watcher(&self) -> Option<BoxWatcher> {
        let scope = WatchScope::Service(self.instance.service.clone());
        timeout(SIGHT, self.registry.watch(scope)).await.ok()?.ok()
    }

    /// Publishes where the registration stands until the record is not wanted any more.
    async fn hold(
        &self,
        mut standing: watch::Receiver<Standing>,
        views: &mut watch::Receiver<View>,
    ) {
        let mut seen = pin!(self.proof(standing.clone()));
        let mut proven = false;
        self.publish(Some(&standing.borrow_and_update().clone()));
        loop {
            tokio::select! {
                _ = views.wait_for(|view| !view.wants_record()) => return,
                propagation = &mut seen, if !proven => {
                    proven = true;
                    tracing::info!(key = %self.instance.key(), ?propagation, "found by a lookup");
                    self.board.present(|presence| {
                        presence.proven = true;
                        presence.propagation = propagation;
                    });
                }
                changed = standing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = standing.borrow_and_update().clone();
                    self.publish(Some(&now));
                }
            }
        }
    }

    /// Waits until the record is written and a lookup finds it; tells how long a reader's watch took
    /// to show it.
    async fn proof(&self, mut standing: watch::Receiver<Standing>) -> Duration {
        // Both at once: the watch should be there before the record, but must not hold it up.
        let live = async {
            let _ = standing
                .wait_for(|standing| standing.state == State::Live)
                .await;
        };
        let ((), watcher) = tokio::join!(live, self.watcher());
        let begun = Instant::now();
        let shown = match watcher {
            Some(watcher) => timeout(SIGHT, self.shown(watcher)).await.is_ok(),
            None => false,
        };
        let propagation = begun.elapsed();
        loop {
            let found = self.registry.lookup(&self.instance.service).await;
            if found.is_ok_and(|all| all.iter().any(|one| self.is_ours(one))) {
                return if shown { propagation } else { begun.elapsed() };
            }
            sleep(PAUSE).await;
        }
    }

    /// Ends when the watch shows the record; never when the watch ends before.
    async fn shown(&self, mut watcher: BoxWatcher) {
        while let Some(Ok(event)) = watcher.next().await {
            let here = match event {
                Event::Snapshot(all) => all.iter().any(|one| self.is_ours(one)),
                Event::Changed(changes) => changes
                    .iter()
                    .any(|change| matches!(change, Change::Upsert(one) if self.is_ours(one))),
                Event::Confirmed => false,
            };
            if here {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    fn is_ours(&self, other: &Instance) -> bool {
        other.node.id == self.instance.node.id && other.node.address == self.instance.node.address
    }

    /// Shows where the registration stands; `None` where there is none.
    fn publish(&self, standing: Option<&Standing>) {
        let state = standing.map(|standing| standing.state);
        for known in STATES {
            let holds = u8::from(state == Some(known));
            metrics::gauge!(
                "waypost_registration_state",
                "service" => self.instance.service.to_string(), "state" => known.as_str(),
            )
            .set(holds);
        }
        self.board.present(|presence| {
            presence.state = state;
            presence.cause = standing.and_then(|standing| standing.cause.clone());
            presence.proven &= standing.is_some();
            if standing.is_none() {
                presence.removed = Some(Instant::now());
            }
        });
    }
}

/// Waits until the record is wanted, or the service leaves; tells whether it is wanted.
async fn wanted_or_leaving(views: &mut watch::Receiver<View>) -> bool {
    let decided = |view: &View| view.begins_record() || view.phase == Phase::Leaving;
    let view = views.wait_for(decided).await;
    view.is_ok_and(|view| view.begins_record())
}
