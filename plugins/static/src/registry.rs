//! The registry: a list that nobody changes but its author.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};

use crate::config::{PROFILE, Source, StaticOptions};
use crate::{error, file, watcher};

/// A registry from a fixed list. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct StaticRegistry {
    source: Arc<Source>,
    skipped: SkipLog,
    relist: Duration,
}

impl StaticRegistry {
    /// Opens the registry. A file is read when it is needed: a process has to be able to start
    /// before its list is there.
    #[must_use]
    pub fn new(options: StaticOptions) -> Self {
        Self {
            source: Arc::new(options.source),
            skipped: SkipLog::new(),
            relist: options.relist,
        }
    }

    /// Everything there is now, in the order of keys.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Instance>>> {
        if let Source::List(all) = &*self.source {
            return Ok(all.clone());
        }
        let (source, skipped) = (Arc::clone(&self.source), self.skipped.clone());
        let read = move || match &*source {
            Source::File(path) => file::read(path, &skipped),
            Source::List(all) => Ok(all.clone()),
        };
        let result = tokio::task::spawn_blocking(read).await;
        result.unwrap_or_else(|_| Err(error::cut_short()))
    }
}

fn named(operation: &'static str, subject: impl std::fmt::Display) -> impl FnOnce(Error) -> Error {
    move |error| {
        error
            .with_operation(operation, subject)
            .with_driver(PROFILE.driver)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for StaticRegistry {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(&self, instance: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>> {
        Err(named("register", instance.key())(error::read_only()))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        Err(named("deregister", key)(error::read_only()))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let all = self.all().await.map_err(named("lookup", service))?;
        let found = all.iter().filter(|instance| instance.service == *service);
        Ok(found.map(|instance| Instance::clone(instance)).collect())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let all = self.all().await.map_err(named("services", ""))?;
        let mut names: Vec<_> = all
            .iter()
            .map(|instance| instance.service.clone())
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        Ok(watcher::watch(self.clone(), scope, self.relist))
    }
}
