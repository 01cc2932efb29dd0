//! One followed scope: what its task writes and its readers read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::{Error, ErrorKind, Instance, InstanceKey, Registry, Result, WatchScope};

use super::follow::Follower;
use super::{Members, Shared};

/// How far what is read can be trusted to be the registry's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// Nothing is known yet.
    Pending,
    /// A watch is open.
    Live,
    /// No watch is open; what is read is what was known then.
    Stale {
        /// Since when.
        since: Instant,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) freshness: Freshness,
    pub(super) confirmed: Option<Instant>,
    pub(super) error: Option<Error>,
}

/// What the follower's task and the readers share.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) scope: WatchScope,
    members: ArcSwap<Members>,
    version: watch::Sender<u64>,
    status: watch::Sender<Status>,
}

impl Board {
    fn new(scope: WatchScope) -> Self {
        Self {
            scope,
            members: ArcSwap::from_pointee(Members::default()),
            version: watch::Sender::new(0),
            status: watch::Sender::new(Status {
                freshness: Freshness::Pending,
                confirmed: None,
                error: None,
            }),
        }
    }

    pub(super) fn publish(&self, members: Members) {
        let version = members.version();
        self.members.store(Arc::new(members));
        self.version.send_replace(version);
    }

    pub(super) fn confirm(&self, now: Instant) {
        self.status.send_if_modified(|status| {
            let news = status.freshness != Freshness::Live;
            status.freshness = Freshness::Live;
            status.confirmed = Some(now);
            status.error = None;
            news
        });
    }

    /// Notes a failure; tells whether it is the first since all was well.
    pub(super) fn fail(&self, error: Error, now: Instant) -> bool {
        let mut first = false;
        self.status.send_modify(|status| {
            first = status.error.is_none();
            if status.freshness == Freshness::Live {
                status.freshness = Freshness::Stale { since: now };
            }
            status.error = Some(error);
        });
        first
    }

    /// Something is known, though not from the registry.
    pub(super) fn restored(&self, now: Instant) {
        self.status
            .send_modify(|status| status.freshness = Freshness::Stale { since: now });
    }

    pub(super) fn freshness(&self) -> Freshness {
        self.status.borrow().freshness
    }

    pub(super) fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Whether readers are being shown a fallback.
    pub(super) fn guarding(&self) -> bool {
        self.members.load().fallback().next().is_some()
    }
}

/// One followed scope and its task.
#[derive(Debug)]
pub(super) struct Entry {
    board: Arc<Board>,
    registry: Arc<dyn Registry>,
    task: AbortHandle,
}

impl Entry {
    pub(super) fn start(
        shared: &Arc<Shared>,
        scope: WatchScope,
        runtime: &tokio::runtime::Handle,
    ) -> Arc<Self> {
        let board = Arc::new(Board::new(scope));
        let follower = Follower::new(shared, Arc::clone(&board));
        Arc::new(Self {
            board,
            registry: Arc::clone(&shared.registry),
            task: runtime.spawn(follower.run()).abort_handle(),
        })
    }

    /// Waits for something to read.
    pub(super) async fn ready(&self, limit: Duration) -> Result<()> {
        let mut status = self.board.status.subscribe();
        let settled = |status: &Status| {
            status.freshness != Freshness::Pending
                || status
                    .error
                    .as_ref()
                    .is_some_and(|error| !error.is_transient())
        };
        let _ = timeout(limit, status.wait_for(settled)).await;
        let status = self.board.status.borrow();
        if status.freshness != Freshness::Pending {
            return Ok(());
        }
        let error = match &status.error {
            Some(error) if !error.is_transient() => error.clone(),
            Some(error) => Error::new(
                ErrorKind::Unavailable,
                format!("nothing is known of it, and the registry did not tell within {limit:?}"),
            )
            .with_source(error.clone()),
            None => Error::new(
                ErrorKind::Unavailable,
                format!("nothing is known of it, and the registry did not answer within {limit:?}"),
            ),
        };
        Err(error
            .with_operation("follow", &self.board.scope)
            .with_driver(self.registry.profile().driver))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A followed scope. Clones are cheap; the scope is followed as long as one is held, and for a
/// minute or two after.
#[derive(Debug, Clone)]
pub struct Followed {
    entry: Arc<Entry>,
    version: watch::Receiver<u64>,
}

/// One difference between what is followed and a fresh list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The registry has it, the directory does not.
    Missing(Arc<Instance>),
    /// The directory has it, the registry does not.
    Extra(InstanceKey),
    /// Both have it, with different content.
    Different {
        /// What the registry says.
        registry: Arc<Instance>,
        /// What the directory says.
        directory: Arc<Instance>,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(instance) => write!(f, "{} is missing", instance.key()),
            Self::Extra(key) => write!(f, "{key} should be gone"),
            Self::Different { registry, .. } => write!(f, "{} differs", registry.key()),
        }
    }
}

impl Followed {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        let version = entry.board.version.subscribe();
        Self { entry, version }
    }

    /// The members now. Never waits; a clone of a pointer.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        self.entry.board.members()
    }

    /// How far the members can be trusted to be the registry's present state.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.entry.board.freshness()
    }

    /// When the registry last confirmed them.
    #[must_use]
    pub fn confirmed(&self) -> Option<Instant> {
        self.entry.board.status.borrow().confirmed
    }

    /// Why they are stale, if they are.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.entry.board.status.borrow().error.clone()
    }

    /// What is followed.
    #[must_use]
    pub fn scope(&self) -> &WatchScope {
        &self.entry.board.scope
    }

    /// Waits until the members are other than those seen by this handle's last call. Changes that
    /// come faster than they are read are told once.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn changed(&mut self) -> Arc<Members> {
        // The sender lives in the entry that this handle holds, so this cannot fail.
        let _ = self.version.changed().await;
        self.members()
    }

    /// Compares the members with a fresh list. What differs in three comparisons 200 ms apart is
    /// reported; a change on its way is not.
    ///
    /// # Errors
    /// The registry's, when it cannot be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn verify(&self) -> Result<Vec<Drift>> {
        for _ in 0..2 {
            if self.compare().await?.is_empty() {
                return Ok(Vec::new());
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.compare().await
    }

    async fn compare(&self) -> Result<Vec<Drift>> {
        let registry = &self.entry.registry;
        let services = match self.scope() {
            WatchScope::Service(name) => vec![name.clone()],
            WatchScope::All => registry.services().await?,
        };
        let mut fresh = BTreeMap::new();
        for service in services {
            for instance in registry.lookup(&service).await? {
                fresh.insert(instance.key(), Arc::new(instance));
            }
        }
        let mut drifts = Vec::new();
        for known in self.members().live() {
            match fresh.remove(&known.key()) {
                None => drifts.push(Drift::Extra(known.key())),
                Some(registry) if registry != *known => drifts.push(Drift::Different {
                    registry,
                    directory: Arc::clone(known),
                }),
                Some(_) => {}
            }
        }
        drifts.extend(fresh.into_values().map(Drift::Missing));
        Ok(drifts)
    }
}
