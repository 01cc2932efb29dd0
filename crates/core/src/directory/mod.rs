//! The one follower of watches: what callers read instead of the registry.

mod disk;
mod entry;
mod follow;
mod members;
mod meters;
mod roster;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, ErrorKind, Registry, Result, WatchScope};

use self::entry::Entry;

pub use self::entry::{Drift, Followed, Freshness};
pub use self::members::Members;

/// How a directory follows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// How long the first reader of a service waits for its first snapshot. Default 2 s.
    pub connect_timeout: Duration,
    /// How often the state is compared with a fresh list, give or take a fifth. Default 60 s.
    pub relist: Duration,
    /// How long those that left in a mass departure stay as fallback. Default 60 s.
    pub guard_window: Duration,
    /// Where to keep a copy of each followed set, for a cold start while the registry is down.
    /// Default none.
    pub disk: Option<PathBuf>,
    /// Most scopes followed at once. Default 10 000.
    pub most: usize,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            relist: Duration::from_secs(60),
            guard_window: Duration::from_secs(60),
            disk: None,
            most: 10_000,
        }
    }
}

impl DirectoryOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long the first reader of a service waits.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how often the state is compared with a fresh list (at least 100 ms).
    #[must_use]
    pub fn with_relist(mut self, period: Duration) -> Self {
        self.relist = period.max(Duration::from_millis(100));
        self
    }

    /// Sets how long those that left in a mass departure stay as fallback.
    #[must_use]
    pub fn with_guard_window(mut self, window: Duration) -> Self {
        self.guard_window = window;
        self
    }

    /// Keeps a copy of each followed set in this folder.
    #[must_use]
    pub fn with_disk(mut self, folder: impl Into<PathBuf>) -> Self {
        self.disk = Some(folder.into());
        self
    }
}

/// Follows services and holds what is known of them. Clones share everything.
///
/// * One watch a service a process, however many readers; many first readers wait for one read.
/// * Readers never wait and never see half an update ([`Followed::members`]).
/// * It **fails static**: an error or a dead registry never empties a set; [`Freshness`] tells.
/// * After an error it watches anew by itself, with jitter at most 5 s apart, for ever; every
///   watch begins with a snapshot, so that missed deletions are made good.
/// * Every minute or so the state is replaced by a fresh list, against watches that lost events.
///
/// ```
/// # use std::sync::Arc;
/// # use waypost_core::{Directory, DirectoryOptions, Registry, ServiceName};
/// # async fn example(registry: Arc<dyn Registry>) -> waypost_core::Result<()> {
/// let directory = Directory::new(registry, DirectoryOptions::new());
/// let orders = directory.follow(ServiceName::new("orders")?).await?;
/// for instance in orders.members().candidates() {
///     println!("{}", instance.node.address);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    registry: Arc<dyn Registry>,
    options: DirectoryOptions,
    entries: Mutex<HashMap<WatchScope, Arc<Entry>>>,
}

impl Directory {
    /// A directory over `registry`. Nothing is followed until somebody asks.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, options: DirectoryOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                registry,
                options,
                entries: Mutex::default(),
            }),
        }
    }

    /// Follows `scope`, or joins those who already do. Waits for the first snapshot only; a scope
    /// that was seen before is there at once, whatever the registry does.
    ///
    /// An unknown service is followed too, with no members: it may come. A scope that nobody holds
    /// any more is followed for a minute or two on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is no first snapshot within the connect timeout (and
    /// no copy on disk); the registry's own error when waiting would not mend it;
    /// [`ErrorKind::Throttled`] when more scopes are followed than allowed.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn follow(&self, scope: impl Into<WatchScope>) -> Result<Followed> {
        let entry = self.entry(scope.into())?;
        entry.ready(self.shared.options.connect_timeout).await?;
        Ok(Followed::new(entry))
    }

    /// The registry below, for what must be read fresh.
    #[must_use]
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.shared.registry
    }

    fn entry(&self, scope: WatchScope) -> Result<Arc<Entry>> {
        let mut entries = self.shared.lock();
        if let Some(entry) = entries.get(&scope) {
            return Ok(Arc::clone(entry));
        }
        let driver = self.shared.registry.profile().driver;
        let fault = |kind, text: String| {
            Error::new(kind, text)
                .with_operation("follow", &scope)
                .with_driver(driver)
        };
        let most = self.shared.options.most;
        if entries.len() >= most {
            let text = format!("{most} services are followed already");
            return Err(fault(ErrorKind::Throttled, text));
        }
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| fault(ErrorKind::Config, error.to_string()))?;
        let entry = Entry::start(&self.shared, scope.clone(), &runtime);
        entries.insert(scope, Arc::clone(&entry));
        Ok(entry)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WatchScope, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reader holds `scope`.
    fn is_held(&self, scope: &WatchScope) -> bool {
        let entries = self.lock();
        entries
            .get(scope)
            .is_none_or(|entry| Arc::strong_count(entry) > 1)
    }

    /// Forgets `scope` unless somebody holds it; tells whether it is forgotten.
    fn forget_idle(&self, scope: &WatchScope) -> bool {
        let mut entries = self.lock();
        let idle = entries
            .get(scope)
            .is_some_and(|entry| Arc::strong_count(entry) == 1);
        if idle {
            entries.remove(scope);
        }
        idle
    }
}

#[cfg(test)]
mod tests;
