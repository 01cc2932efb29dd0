//! One record of ours and its lease.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use waypost_core::{Error, ErrorKind, Instance, InstanceKey, Lease, Result};
use waypost_plugin_kit::codec;

use crate::config::DRIVER;
use crate::guard::Held;
use crate::registry::Shared;

/// A record that this process keeps.
#[derive(Debug)]
pub(crate) struct EtcdLease {
    pub(crate) shared: Arc<Shared>,
    pub(crate) held: Held,
    pub(crate) id: InstanceKey,
    pub(crate) ttl: Duration,
    /// What was written last; nothing while that is in doubt.
    pub(crate) content: Option<Vec<u8>>,
}

impl EtcdLease {
    async fn renewed(&self) -> Result<()> {
        let claim = self.held.claim();
        if let Some(lost) = claim.lost() {
            return Err(lost);
        }
        match self.shared.keepalive.renew(claim.lease).await {
            Ok(()) => {
                self.shared.guard.renewed();
                claim.lost().map_or(Ok(()), Err)
            }
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                Err(claim.lose("the lease has expired"))
            }
            Err(error) => Err(error),
        }
    }

    async fn rewritten(&mut self, instance: &Instance) -> Result<()> {
        let id = instance.key();
        if id != self.id {
            return Err(Error::config(format!(
                "the lease is for {}, not for {id}",
                self.id
            )));
        }
        let content = codec::checked(instance)?;
        let claim = self.held.claim();
        if let Some(lost) = claim.lost() {
            return Err(lost);
        }
        if self.content.as_ref() == Some(&content) {
            return Ok(());
        }
        self.content = None;
        let (key, lease) = (claim.key.as_str(), claim.lease);
        let put = TxnOp::put(
            key,
            content.clone(),
            Some(PutOptions::new().with_lease(lease)),
        );
        let txn = Txn::new()
            .when([Compare::lease(key, CompareOp::Equal, lease)])
            .and_then([put]);
        let write = self.shared.endpoints.call(|endpoint| {
            let txn = txn.clone();
            async move { endpoint.kv().txn(txn).await }
        });
        // Whoever writes lives: etcd does not count a write as a sign of life, other backends do.
        let (answer, ()) = tokio::join!(write, self.shared.keepalive.touch(lease));
        match answer {
            Ok(answer) if answer.succeeded() => {
                self.content = Some(content);
                Ok(())
            }
            Ok(_) => Err(claim.lose("the record is gone or somebody else's")),
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                Err(claim.lose("the lease has expired"))
            }
            Err(error) => Err(error),
        }
    }

    fn named(&self, operation: &'static str, error: Error) -> Error {
        error
            .with_operation(operation, &self.id)
            .with_driver(DRIVER.name)
    }
}

#[async_trait]
impl Lease for EtcdLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn renew(&mut self) -> Result<()> {
        let result = self.renewed().await;
        result.map_err(|error| self.named("renew", error))
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let result = self.rewritten(instance).await;
        result.map_err(|error| self.named("update", error))
    }

    async fn lost(&self) -> Error {
        let error = self.held.claim().until_lost().await;
        self.named("keep", error)
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        let Self {
            shared, held, id, ..
        } = *self;
        let lease = held.claim().lease;
        // What is removed on purpose is no loss.
        drop(held);
        let call = shared
            .endpoints
            .call(|endpoint| async move { endpoint.lease().revoke(lease).await });
        match call.await {
            Ok(_) => Ok(()),
            // It is gone, and its keys with it.
            Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
            Err(error) => Err(error.with_operation("revoke", id).with_driver(DRIVER.name)),
        }
    }
}
