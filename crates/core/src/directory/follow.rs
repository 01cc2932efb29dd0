//! The task that follows one scope: watch, apply, publish; on an error keep what is known and
//! watch anew.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::clock::{Backoff, jittered};
use crate::{BoxWatcher, Change, Error, ErrorKind, Event, Instance, InstanceKey, Registry, Result};

use super::disk::Disk;
use super::entry::{Board, Freshness};
use super::meters::Meters;
use super::roster::Roster;
use super::{Members, Shared};

/// Longest time until a watch is open and has told its first snapshot.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A watch that lived this long was healthy: the next failure begins with a short delay again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a second watch may differ from the first before it is believed; then, if it has had
/// something to tell since it was opened, as long again until it tells more.
const AGREES: Duration = Duration::from_secs(1);
/// Changes within this time are written to disk once.
const SAVE_DELAY: Duration = Duration::from_secs(1);

/// Follows one scope.
pub(super) struct Follower {
    registry: Arc<dyn Registry>,
    board: Arc<Board>,
    meters: Meters,
    directory: Weak<Shared>,
    roster: Roster,
    backoff: Backoff,
    relist: Duration,
    disk: Option<Disk>,
    save_at: Option<Instant>,
    idle_periods: u32,
}

/// Why one watch is no longer followed.
enum Ended {
    /// Nobody reads the scope any more.
    Idle,
    Failed(Error),
}

impl Follower {
    pub(super) fn new(shared: &Arc<Shared>, board: Arc<Board>) -> Self {
        let options = &shared.options;
        let disk = options.disk.as_deref();
        Self {
            registry: Arc::clone(&shared.registry),
            meters: Meters::new(&board.scope),
            directory: Arc::downgrade(shared),
            roster: Roster::new(options.guard_window),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            relist: options.relist,
            disk: disk.map(|folder| Disk::new(folder, &board.scope)),
            save_at: None,
            idle_periods: 0,
            board,
        }
    }

    /// Follows, for ever or until nobody has read the scope for a while.
    pub(super) async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let ended = match open(&*self.registry, &self.board).await {
                Ok((watcher, snapshot)) => {
                    self.meters.opened();
                    self.take_snapshot(snapshot, None);
                    self.follow(watcher).await
                }
                Err(error) => Ended::Failed(error),
            };
            let Ended::Failed(error) = ended else {
                return;
            };
            if begun.elapsed() >= HEALTHY {
                self.backoff.reset();
            }
            let delay = self.backoff.after(&error);
            self.fail(error).await;
            // What was never known is not worth keeping for nobody; what was known is.
            if self.board.freshness() == Freshness::Pending && self.forgotten() {
                return;
            }
            self.pause(delay).await;
        }
    }

    /// Applies events until the watch fails. Once a relist period a second watch is opened beside
    /// the first, whose state then replaces the first one's: no event is missed meanwhile, a watch
    /// that went silent is replaced, and what the first one lost is made good.
    async fn follow(&mut self, mut watcher: BoxWatcher) -> Ended {
        loop {
            let relist_at = Instant::now() + jittered(self.relist, 0.2);
            let (registry, board) = (Arc::clone(&self.registry), Arc::clone(&self.board));
            let renewal = async move {
                sleep_until(relist_at).await;
                open(&*registry, &board).await
            };
            tokio::pin!(renewal);
            let renewed = loop {
                tokio::select! {
                    event = watcher.next() => match event {
                        Some(Ok(event)) => self.take(event),
                        Some(Err(error)) => return Ended::Failed(error),
                        None => return Ended::Failed(Error::unavailable("the watch ended")),
                    },
                    renewed = &mut renewal => break renewed,
                    () = at(self.roster.next_tick()) => self.tick(),
                    () = at(self.save_at) => self.save(),
                }
            };
            match renewed {
                Ok((mut fresh, snapshot)) => {
                    let state = self.compare(&mut watcher, &mut fresh, snapshot).await;
                    let state = match state {
                        Ok(state) => state,
                        Err(error) => return Ended::Failed(error),
                    };
                    // Before the old one goes: a backend may close what nobody watches.
                    let old = std::mem::replace(&mut watcher, fresh);
                    self.take_snapshot(state, Some("relist"));
                    drop(old);
                }
                Err(error) => return Ended::Failed(error),
            }
            if self.forgotten() {
                return Ended::Idle;
            }
        }
    }

    /// Follows both watches until they agree; gives what the second one makes of it.
    ///
    /// Its snapshot may be older than what the first has told meanwhile, and readers must not see a
    /// record go back. Where they go on to differ, the first has lost something.
    async fn compare(
        &mut self,
        old: &mut BoxWatcher,
        fresh: &mut BoxWatcher,
        snapshot: Vec<Arc<Instance>>,
    ) -> Result<Vec<Arc<Instance>>> {
        let mut state = by_key(snapshot);
        let mut until = Instant::now() + AGREES;
        let (mut told, mut late) = (false, false);
        while !self.roster.is(&state) {
            tokio::select! {
                event = fresh.next() => {
                    match event {
                        Some(Ok(event)) => told |= apply(&mut state, event),
                        Some(Err(error)) => return Err(error),
                        None => return Err(Error::unavailable("the watch ended")),
                    }
                    if late {
                        break;
                    }
                }
                event = old.next() => match event {
                    Some(Ok(event)) => self.take(event),
                    // The other one takes its place, as it was about to.
                    Some(Err(_)) | None => break,
                },
                () = sleep_until(until) => {
                    // While others change things all the time two watches may never agree: what has
                    // just been told is the latest.
                    if late || !told {
                        break;
                    }
                    late = true;
                    until += AGREES;
                }
            }
        }
        Ok(state.into_values().collect())
    }

    fn take(&mut self, event: Event) {
        let now = Instant::now();
        self.meters.heard(&event);
        match event {
            Event::Snapshot(all) => self.take_snapshot(all, None),
            Event::Changed(changes) => {
                if self.roster.apply(changes, now) {
                    self.publish();
                }
            }
            Event::Confirmed => {}
        }
        self.board.confirm(now);
    }

    /// `routine` names a snapshot that should have changed nothing.
    fn take_snapshot(&mut self, all: Vec<Arc<Instance>>, routine: Option<&'static str>) {
        let now = Instant::now();
        let first = self.board.freshness() == Freshness::Pending;
        let changed = self.roster.replace(all, now);
        if changed > 0 {
            if routine.is_some() {
                let scope = self.board.scope.to_string();
                tracing::warn!(scope, changed, "the watch had lost changes; made good");
                metrics::counter!("waypost_directory_drift_total", "service" => scope)
                    .increment(changed as u64);
            }
            self.publish();
        }
        if let Freshness::Stale { since } = self.board.freshness() {
            let stale = since.elapsed();
            self.meters.stale_for(Duration::ZERO);
            tracing::info!(scope = %self.board.scope, ?stale, "the registry is back");
        }
        if first {
            tracing::debug!(scope = %self.board.scope, nodes = self.roster.len(), "following");
        }
        self.board.confirm(now);
    }

    fn tick(&mut self) {
        if self.roster.tick(Instant::now()) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let guarded = self.board.guarding();
        let members = self.roster.publish();
        if self.roster.guarding() && !guarded {
            tracing::warn!(
                scope = %self.board.scope,
                live = members.len(),
                "most nodes left within a minute; they stay as fallback"
            );
            metrics::counter!("waypost_directory_guard_total",
                "service" => self.board.scope.to_string())
            .increment(1);
        }
        self.show(members);
        if self.disk.is_some() && self.save_at.is_none() {
            self.save_at = Some(Instant::now() + SAVE_DELAY);
        }
    }

    fn show(&self, members: Members) {
        self.meters.published(&members);
        self.board.publish(members);
    }

    /// What a mass departure left is not worth remembering; the set before it was.
    fn save(&mut self) {
        self.save_at = None;
        let Some(disk) = &mut self.disk else { return };
        let members = self.board.members();
        let postponed = self.roster.guarding() || !disk.save(members.live().cloned().collect());
        if postponed {
            self.save_at = Some(Instant::now() + SAVE_DELAY);
        }
    }

    async fn fail(&mut self, error: Error) {
        let now = Instant::now();
        if self.board.fail(error.clone(), now) {
            tracing::warn!(
                scope = %self.board.scope,
                cause = error.chain(),
                nodes = self.roster.len(),
                "the registry does not answer; serving what is known"
            );
        }
        self.meters.failed();
        if let Freshness::Stale { since } = self.board.freshness() {
            self.meters.stale_for(now.saturating_duration_since(since));
        }
        if self.board.freshness() == Freshness::Pending
            && let Some(disk) = &self.disk
            && let Some(all) = disk.load().await
        {
            tracing::warn!(
                scope = %self.board.scope,
                nodes = all.len(),
                "the registry does not answer; serving the disk snapshot"
            );
            self.roster.restore(all, now);
            let members = self.roster.publish();
            self.show(members);
            self.board.restored(now);
        }
    }

    /// The pause before the next try; what left long ago is forgotten meanwhile too.
    async fn pause(&mut self, delay: Duration) {
        let over = sleep(delay);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = at(self.roster.next_tick()) => self.tick(),
            }
        }
    }

    /// Whether nobody has held the scope for two relist periods, so that it was let go.
    fn forgotten(&mut self) -> bool {
        let Some(directory) = self.directory.upgrade() else {
            return false;
        };
        if directory.is_held(&self.board.scope) {
            self.idle_periods = 0;
            return false;
        }
        self.idle_periods += 1;
        self.idle_periods >= 2 && directory.forget_idle(&self.board.scope)
    }
}

/// Opens a watch and takes its first event, which is a snapshot.
async fn open(registry: &dyn Registry, board: &Board) -> Result<(BoxWatcher, Vec<Arc<Instance>>)> {
    let opening = async {
        let mut watcher = registry.watch(board.scope.clone()).await?;
        match watcher.next().await {
            Some(Ok(Event::Snapshot(all))) => Ok((watcher, all)),
            Some(Ok(_)) => Err(Error::new(
                ErrorKind::Internal,
                "the watch did not begin with a snapshot",
            )),
            Some(Err(error)) => Err(error),
            None => Err(Error::unavailable("the watch ended at once")),
        }
    };
    let opened = match timeout(OPEN_LIMIT, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("no snapshot within {OPEN_LIMIT:?}"),
        )),
    };
    opened.map_err(|error| {
        error
            .with_operation("watch", &board.scope)
            .with_driver(registry.profile().driver)
    })
}

fn by_key(all: Vec<Arc<Instance>>) -> HashMap<InstanceKey, Arc<Instance>> {
    all.into_iter().map(|one| (one.key(), one)).collect()
}

/// Tells whether the event told of a change.
fn apply(state: &mut HashMap<InstanceKey, Arc<Instance>>, event: Event) -> bool {
    match event {
        Event::Snapshot(all) => *state = by_key(all),
        Event::Changed(changes) => {
            for change in changes {
                match change {
                    Change::Upsert(instance) => state.insert(instance.key(), instance),
                    Change::Remove(key) => state.remove(&key),
                };
            }
        }
        Event::Confirmed => return false,
    }
    true
}

/// Waits for a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
