//! A client of a map.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use waypost_conformance::Cut;
use waypost_core::{
    BoxWatcher, Error, ErrorKind, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry,
    Result, ServiceName, SkipLog, WatchScope,
};

use super::lease::MapLease;
use super::map::{Map, key};
use super::{Flaw, PROFILE, watcher};

/// What a client remembers of what it saw, for those that never forget.
pub(crate) type Memory = Arc<Mutex<BTreeMap<InstanceKey, Arc<Instance>>>>;

#[derive(Clone)]
pub(crate) struct MapRegistry {
    pub(crate) map: Arc<Map>,
    pub(crate) skipped: SkipLog,
    pub(crate) flaw: Option<Flaw>,
    pub(crate) memory: Memory,
}

impl fmt::Debug for MapRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRegistry").finish_non_exhaustive()
    }
}

impl MapRegistry {
    pub(crate) fn new(map: Arc<Map>, flaw: Option<Flaw>) -> Self {
        Self {
            map,
            skipped: SkipLog::new(),
            flaw,
            memory: Memory::default(),
        }
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Lets an operation through, fails it, or lets it hang.
    pub(crate) async fn reach(&self) -> Result<()> {
        let mut cut = self.map.cut.subscribe();
        let reached = cut.wait_for(|cut| *cut != Some(Cut::Silence)).await;
        match reached.map(|cut| *cut) {
            Ok(Some(Cut::Refuse)) => {
                Err(Error::unavailable("connection refused").with_driver("map"))
            }
            _ => Ok(()),
        }
    }

    /// What there is and can be believed; the rest is counted.
    pub(crate) fn believed(&self) -> Vec<Instance> {
        let (read, _) = self.map.read(self.has(Flaw::BelievesTheRecordNotItsKey));
        let mut believed = Vec::new();
        for read in read {
            match read {
                Ok(instance) => believed.push(instance),
                Err(((service, node), reason)) => {
                    self.skipped
                        .skip("map", format!("{service}/{node}"), reason);
                    if self.has(Flaw::StopsAtABadRecord) {
                        break;
                    }
                }
            }
        }
        believed
    }
}

#[async_trait]
impl Registry for MapRegistry {
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
        static OWNERS: AtomicU64 = AtomicU64::new(1);
        instance.validate()?;
        if options.ttl < PROFILE.least_ttl && !self.has(Flaw::TakesAnyTtl) {
            return Err(Error::config(format!("ttl {:?} is too short", options.ttl)));
        }
        self.reach().await?;
        let ttl = match self.flaw {
            Some(Flaw::IgnoresTheTtl) => Duration::from_secs(1 << 20),
            Some(Flaw::GrantsTooLittle) => options.ttl / 2,
            _ => options.ttl,
        };
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let ghost = self.has(Flaw::DroppedRegisterLeavesAGhost);
        let mut ghost = ghost.then(|| Ghost(Arc::clone(&self.map), instance.clone()));
        // The answer of a server is never there at once.
        tokio::task::yield_now().await;
        if self.has(Flaw::RemovesBeforeItWrites) {
            self.map.lock().remove(&key(instance));
            self.map.changed();
            sleep(Duration::from_millis(60)).await;
        }
        self.map.write(instance, owner, ttl);
        tokio::task::yield_now().await;
        if let Some(ghost) = ghost.take() {
            ghost.lay();
        }
        Ok(Box::new(MapLease {
            registry: self.clone(),
            key: instance.key(),
            written: instance.clone(),
            owner,
            ttl,
            asked: options.ttl,
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.reach().await?;
        let key = (key.service.to_string(), key.node.to_string());
        self.map.lock().remove(&key);
        self.map.changed();
        Ok(())
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.reach().await.or_else(|error| self.forgive(error))?;
        let mut all = self.believed();
        if self.map.cut.borrow().is_some() {
            all.clear();
        }
        all.retain(|instance| instance.service == *service);
        if all.is_empty() && self.has(Flaw::FailsOnUnknownServices) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no service {service}"),
            ));
        }
        Ok(all)
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.reach().await?;
        let mut names: Vec<_> = self
            .believed()
            .into_iter()
            .map(|each| each.service)
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.reach().await.or_else(|error| self.forgive(error))?;
        Ok(watcher::watch(self.clone(), scope))
    }
}

impl MapRegistry {
    /// Takes a dead backend for an empty one, if that is the flaw.
    fn forgive(&self, error: Error) -> Result<()> {
        if self.has(Flaw::EmptiesOnError) {
            Ok(())
        } else {
            Err(error)
        }
    }
}

/// Leaves a record for ever when it is dropped and not laid.
struct Ghost(Arc<Map>, Instance);

impl Ghost {
    fn lay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Ghost {
    fn drop(&mut self) {
        self.0.write(&self.1, 0, Duration::from_secs(1 << 20));
    }
}
