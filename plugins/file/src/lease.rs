//! A claim on one file of the directory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use waypost_core::{Error, Instance, InstanceKey, Lease, Result};
use waypost_plugin_kit::{codec, hints};

use crate::error;
use crate::head::Owner;
use crate::hub::Interest;
use crate::shared::{Shared, named};
use crate::store::{Spot, Store};

#[derive(Debug)]
pub(crate) struct FileLease {
    shared: Arc<Shared>,
    key: InstanceKey,
    spot: Spot,
    owner: Owner,
    ttl: Duration,
}

impl FileLease {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: InstanceKey,
        spot: Spot,
        owner: Owner,
        ttl: Duration,
    ) -> Self {
        Self {
            shared,
            key,
            spot,
            owner,
            ttl,
        }
    }

    /// Waits until the record is seen not to be ours.
    async fn watch(&self) -> Result<()> {
        let Ok(hub) = self.shared.hub() else {
            return std::future::pending().await;
        };
        let (hinter, mut hints) = hints();
        hub.subscribe(Interest::from(&self.spot), hinter);
        loop {
            let (hub, spot, owner) = (Arc::clone(&hub), self.spot.clone(), self.owner);
            let holds = move |store: &Store| {
                hub.listen(&spot.service, &store.place().service(&spot.service));
                store.holds(&spot, owner)
            };
            if !self.shared.run(holds).await? {
                return Ok(());
            }
            hints.next().await;
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for FileLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn renew(&mut self) -> Result<()> {
        let (spot, owner, ttl) = (self.spot.clone(), self.owner, self.ttl);
        let renew = move |store: &Store| store.renew(&spot, owner, ttl);
        let named = named("renew", &self.key);
        match self.shared.run(renew).await.map_err(&named)? {
            true => Ok(()),
            false => Err(named(error::lost())),
        }
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let named = named("update", &self.key);
        if instance.key() != self.key {
            return Err(named(error::other_key(&instance.key())));
        }
        let record = codec::checked(instance).map_err(&named)?;
        let (spot, owner, ttl) = (self.spot.clone(), self.owner, self.ttl);
        let instance = instance.clone();
        let update = move |store: &Store| store.update(&spot, owner, &instance, &record, ttl);
        match self.shared.run_in_turn(update).await.map_err(&named)? {
            true => Ok(()),
            false => Err(named(error::lost())),
        }
    }

    async fn lost(&self) -> Error {
        let cause = match self.watch().await {
            Ok(()) => error::lost(),
            // Nothing is known; a renewal will tell.
            Err(_) => std::future::pending().await,
        };
        named("hold", &self.key)(cause)
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        let (spot, owner) = (self.spot, self.owner);
        let revoke = move |store: &Store| store.revoke(&spot, owner);
        let result = self.shared.run_in_turn(revoke).await;
        result.map_err(named("revoke", &self.key))
    }
}
