//! The registry: a directory that processes share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waypost_core::{
    BoxWatcher, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};
use waypost_plugin_kit::codec;

use crate::config::{FileOptions, MAX_TTL, PROFILE};
use crate::lease::FileLease;
use crate::shared::{Shared, named};
use crate::store::{Place, Spot, Store};
use crate::{error, watcher};

/// A registry in a directory of this machine. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct FileRegistry {
    shared: Arc<Shared>,
    skipped: SkipLog,
    relist: Duration,
}

impl FileRegistry {
    /// Opens the registry. The directory is made by the first who registers.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](waypost_core::ErrorKind::Unsupported) where the system does not
    /// name its boot.
    pub fn open(options: FileOptions) -> Result<Self> {
        let skipped = SkipLog::new();
        let store = Store::new(Place::new(options.directory), skipped.clone())?;
        Ok(Self {
            shared: Arc::new(Shared::new(store)),
            skipped,
            relist: options.relist,
        })
    }

    async fn read(&self, scope: WatchScope) -> Result<Vec<Arc<Instance>>> {
        let read = move |store: &Store| store.read(&scope, &mut |_, _| {});
        Ok(self.shared.run(read).await?.instances)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for FileRegistry {
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
        let key = instance.key();
        let named = named("register", &key);
        let record = codec::checked(instance).map_err(&named)?;
        if options.ttl < PROFILE.least_ttl {
            return Err(named(error::short_ttl(options.ttl)));
        }
        let ttl = options.ttl.min(MAX_TTL);
        let spot = Spot::new(&key);
        let there = spot.clone();
        let register = move |store: &Store| store.register(&there, &record, ttl);
        let owner = self.shared.run_in_turn(register).await.map_err(&named)?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(FileLease::new(
            shared,
            key.clone(),
            spot,
            owner,
            ttl,
        )))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        let spot = Spot::new(key);
        let deregister = move |store: &Store| store.deregister(&spot);
        let result = self.shared.run_in_turn(deregister).await;
        result.map_err(named("deregister", key))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let found = self.read(WatchScope::Service(service.clone())).await;
        let found = found.map_err(|error| {
            error
                .with_operation("lookup", service)
                .with_driver(PROFILE.driver)
        })?;
        let mut all: Vec<Instance> = found.into_iter().map(Arc::unwrap_or_clone).collect();
        all.sort_by(|a, b| a.node.id.cmp(&b.node.id));
        Ok(all)
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let found = self.read(WatchScope::All).await.map_err(|error| {
            error
                .with_operation("services", "")
                .with_driver(PROFILE.driver)
        })?;
        let mut names: Vec<_> = found
            .iter()
            .map(|instance| instance.service.clone())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        Ok(watcher::watch(&self.shared, scope, self.relist))
    }
}
