//! A claim on one record of the map.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use waypost_core::{Error, Instance, InstanceKey, Lease, Result};
use waypost_plugin_kit::codec;

use crate::config::PROFILE;
use crate::error;
use crate::registry::Shared;
use crate::state::{Claim, Token};

#[derive(Debug)]
pub(crate) struct MemoryLease {
    shared: Arc<Shared>,
    key: InstanceKey,
    ttl: Duration,
    owner: Token,
    held: watch::Receiver<()>,
}

impl MemoryLease {
    pub(crate) fn new(shared: Arc<Shared>, key: InstanceKey, ttl: Duration, claim: Claim) -> Self {
        Self {
            shared,
            key,
            ttl,
            owner: claim.owner,
            held: claim.held,
        }
    }

    fn named(&self, operation: &'static str, error: Error) -> Error {
        error
            .with_operation(operation, &self.key)
            .with_driver(PROFILE.driver)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for MemoryLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn renew(&mut self) -> Result<()> {
        let renew = |state: &mut crate::state::State, now| {
            state.renew(&self.key, self.owner, now + self.ttl)
        };
        match self.shared.now(renew) {
            true => Ok(()),
            false => Err(self.named("renew", error::lost())),
        }
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let named = |error| self.named("update", error);
        if instance.key() != self.key {
            return Err(named(error::other_key(&instance.key())));
        }
        codec::checked(instance).map_err(named)?;
        let record = Arc::new(instance.clone());
        match self.shared.now(|state, _| state.update(self.owner, record)) {
            true => Ok(()),
            false => Err(named(error::lost())),
        }
    }

    async fn lost(&self) -> Error {
        let mut held = self.held.clone();
        // Nothing is ever sent: the channel closes with the record.
        while held.changed().await.is_ok() {}
        self.named("hold", error::lost())
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        self.shared
            .now(|state, _| state.revoke(&self.key, self.owner));
        Ok(())
    }
}
