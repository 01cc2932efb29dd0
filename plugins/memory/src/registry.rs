//! The registry: a map that its clones share.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use waypost_core::{
    BoxWatcher, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};
use waypost_plugin_kit::{Task, channel, codec, expire};

use crate::config::{MAX_TTL, PROFILE};
use crate::error;
use crate::lease::MemoryLease;
use crate::state::State;
use crate::watcher::MemoryWatcher;

/// Unread changes that a watcher holds one by one, before they are folded to the latest state.
const UNREAD: usize = 1024;

/// A registry in the memory of this process. Cloning is cheap; clones share their records.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegistry {
    shared: Arc<Shared>,
    skipped: SkipLog,
}

/// What clones, leases and watchers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Tells the timer of a deadline before all others.
    sooner: Arc<Notify>,
    timer: Mutex<Option<Task>>,
}

impl MemoryRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    /// Works on the map as it is now: whatever has expired is gone, and told to be gone.
    pub(crate) fn now<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.expire(now);
        let result = work(&mut state, now);
        let after = state.next_deadline();
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
        result
    }

    /// Removes a watcher without looking at anything else: this runs when one is dropped, perhaps
    /// outside of a runtime.
    pub(crate) fn unwatch(&self, scope: &WatchScope, token: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unwatch(scope, token);
    }

    /// Starts the timer when it does not run: at first use, or when the runtime that it ran on is
    /// gone.
    fn keep_time(self: &Arc<Self>) {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.as_ref().is_none_or(Task::is_finished) {
            // Weak, else the timer would keep alive what owns it.
            let shared: Weak<Self> = Arc::downgrade(self);
            *timer = Some(expire(Arc::clone(&self.sooner), move |_| {
                let shared = shared.upgrade()?;
                shared.now(|state, _| state.next_deadline())
            }));
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for MemoryRegistry {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        let named = |error: waypost_core::Error| {
            error
                .with_operation("register", instance.key())
                .with_driver(PROFILE.driver)
        };
        // A record that no other registry would take is not taken here either.
        codec::checked(instance).map_err(named)?;
        if options.ttl < PROFILE.least_ttl {
            return Err(named(error::short_ttl(options.ttl)));
        }
        let ttl = options.ttl.min(MAX_TTL);
        self.shared.keep_time();
        let shared = Arc::clone(&self.shared);
        let record = Arc::new(instance.clone());
        let claim = shared.now(|state, now| state.insert(record, now + ttl));
        Ok(Box::new(MemoryLease::new(
            shared,
            instance.key(),
            ttl,
            claim,
        )))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.shared.now(|state, _| state.remove(key));
        Ok(())
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let found = self.shared.now(|state, _| state.lookup(service));
        Ok(found
            .iter()
            .map(|instance| Instance::clone(instance))
            .collect())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        Ok(self.shared.now(|state, _| state.services()))
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.shared.keep_time();
        let (publisher, events) = channel(UNREAD);
        let token = self.shared.now(|state, _| state.watch(&scope, publisher));
        let shared = Arc::downgrade(&self.shared);
        Ok(Box::pin(MemoryWatcher::new(events, shared, scope, token)))
    }
}
