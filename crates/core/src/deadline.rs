//! Deadlines of single operations, as a decorator over any registry.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::{
    BoxWatcher, Error, ErrorKind, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry,
    Result, ServiceName, SkipLog, WatchScope,
};

/// A registry whose operations end with [`ErrorKind::Timeout`] when the one below does not answer in
/// time. A running watch is not cut; only starting it is. A lease is handed on as it is: the one who
/// keeps it, [`Registration`](crate::Registration), bounds its operations, and a second bound would be
/// a timer more at every beat of every record.
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
        let result = timeout(self.limit, work).await;
        let result = result.unwrap_or_else(|_| Err(late(self.limit)));
        let driver = self.inner.profile().driver;
        result.map_err(|error| error.with_operation(operation, subject).with_driver(driver))
    }
}

/// What an operation that takes longer than it may ends with.
pub(crate) fn late(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}"))
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
        let work = self.inner.register(instance, options);
        self.bounded("register", instance.key(), work).await
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
