//! Deadlines of single operations, as a decorator over any registry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::{
    BoxWatcher, Error, ErrorKind, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry,
    Result, ServiceName, SkipLog, WatchScope,
};

/// A registry whose operations, and those of its leases, end with [`ErrorKind::Timeout`] when the
/// one below does not answer in time. A running watch is not cut; only starting it is.
#[derive(Debug)]
pub struct Deadlines {
    inner: Arc<dyn Registry>,
    limit: Duration,
}

impl Deadlines {
    /// Bounds each operation of `inner` to `limit`.
    pub fn new(inner: Arc<dyn Registry>, limit: Duration) -> Self {
        Self { inner, limit }
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        bounded(
            self.inner.profile().driver,
            self.limit,
            operation,
            subject,
            work,
        )
        .await
    }
}

async fn bounded<T>(
    driver: &'static str,
    limit: Duration,
    operation: &'static str,
    subject: impl std::fmt::Display,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let result = match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("no answer within {limit:?}"),
        )),
    };
    result.map_err(|error| error.with_operation(operation, subject).with_driver(driver))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Deadlines {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn skipped(&self) -> &SkipLog {
        self.inner.skipped()
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        let key = instance.key();
        let work = self.inner.register(instance, options);
        let lease = self.bounded("register", &key, work).await?;
        Ok(Box::new(BoundedLease {
            inner: lease,
            driver: self.inner.profile().driver,
            limit: self.limit,
            key,
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.bounded("deregister", key, self.inner.deregister(key))
            .await
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.bounded("lookup", service, self.inner.lookup(service))
            .await
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.bounded("services", "", self.inner.services()).await
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        let subject = scope.to_string();
        self.bounded("watch", subject, self.inner.watch(scope))
            .await
    }
}

#[derive(Debug)]
struct BoundedLease {
    inner: Box<dyn Lease>,
    driver: &'static str,
    limit: Duration,
    key: InstanceKey,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for BoundedLease {
    fn ttl(&self) -> Duration {
        self.inner.ttl()
    }

    async fn renew(&mut self) -> Result<()> {
        bounded(
            self.driver,
            self.limit,
            "renew",
            &self.key,
            self.inner.renew(),
        )
        .await
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let work = self.inner.update(instance);
        bounded(self.driver, self.limit, "update", &self.key, work).await
    }

    /// Hands on the inner future as it is: a box around a box would be one more place in memory to
    /// visit at every beat of every record.
    fn lost<'a, 'b>(&'a self) -> Pin<Box<dyn Future<Output = Error> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.inner.lost()
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        bounded(
            self.driver,
            self.limit,
            "revoke",
            &self.key,
            self.inner.revoke(),
        )
        .await
    }
}
