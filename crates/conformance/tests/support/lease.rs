//! A claim on a record of a map.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use waypost_core::{Error, ErrorKind, Instance, InstanceKey, Lease, Result};

use super::Flaw;
use super::map::Key;
use super::registry::MapRegistry;

pub(crate) struct MapLease {
    pub(crate) registry: MapRegistry,
    pub(crate) key: InstanceKey,
    pub(crate) written: Instance,
    pub(crate) owner: u64,
    pub(crate) ttl: Duration,
    pub(crate) asked: Duration,
}

impl fmt::Debug for MapLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapLease")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl MapLease {
    fn place(&self) -> Key {
        (self.key.service.to_string(), self.key.node.to_string())
    }

    fn held(&self) -> Result<()> {
        if self.registry.map.owns(&self.place(), self.owner) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::LeaseLost, "the record is not ours"))
    }
}

#[async_trait]
impl Lease for MapLease {
    fn ttl(&self) -> Duration {
        match self.registry.flaw {
            Some(Flaw::IgnoresTheTtl | Flaw::GrantsTooLittle) => self.asked,
            _ => self.ttl,
        }
    }

    async fn renew(&mut self) -> Result<()> {
        self.registry.reach().await?;
        if self.registry.has(Flaw::LateRenewalTakesTheRecordBack) {
            self.registry.map.write(&self.written, self.owner, self.ttl);
            return Ok(());
        }
        self.held()?;
        if let Some(slot) = self.registry.map.lock().get_mut(&self.place()) {
            slot.deadline = Instant::now() + self.ttl;
        }
        if self.registry.has(Flaw::TellsRenewals) {
            self.registry.map.changed();
        }
        Ok(())
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        if instance.key() != self.key {
            return Err(Error::config("a lease holds one record"));
        }
        instance.validate()?;
        self.registry.reach().await?;
        self.held()?;
        let mut unchanged = self.written == *instance;
        if self.registry.has(Flaw::SkipsChangedMetadata) {
            let mut blind = instance.clone();
            blind.metadata = self.written.metadata.clone();
            unchanged = self.written == blind;
        }
        if !unchanged {
            self.registry.map.write(instance, self.owner, self.ttl);
            self.written = instance.clone();
        }
        Ok(())
    }

    async fn lost(&self) -> Error {
        let mut changes = self.registry.map.changes.subscribe();
        loop {
            if self.registry.has(Flaw::NeverTellsALoss) {
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.held() {
                return error;
            }
            // Woken by time too: nothing is written when a record expires.
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(self.ttl) => {}
            }
        }
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        self.registry.reach().await?;
        if self.held().is_ok() || self.registry.has(Flaw::LateRevokeDeletesTheSuccessor) {
            self.registry.map.lock().remove(&self.place());
            self.registry.map.changed();
        }
        if self.registry.has(Flaw::RenewsAfterRevoke) {
            let interval = self.ttl / 3;
            tokio::spawn(async move {
                sleep(interval).await;
                self.registry.map.write(&self.written, self.owner, self.ttl);
            });
        }
        Ok(())
    }
}
