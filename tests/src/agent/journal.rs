//! What a writer does to its registry, told as it happens.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};

use crate::random::record::Stamp;
use crate::random::tape::now;

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Writes the record under a new lease.
    Register,
    /// Renews the lease.
    Renew,
    /// Writes new content under the lease.
    Update,
    /// Ends the lease and removes the record.
    Release,
}

/// The begin or the end of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Number of the operation in its process: its begin and its end share it.
    pub number: u64,
    /// When, on the machine's monotonic clock, in microseconds.
    pub when: u64,
    /// The process.
    pub pid: u32,
    /// The node.
    pub node: String,
    /// The operation.
    pub doing: Doing,
    /// What it writes, if it writes a record.
    pub stamp: Option<Stamp>,
    /// How it ended: `ok`, the kind of the error, or `dropped`; nothing while it is under way.
    pub outcome: Option<String>,
}

/// A registry that tells every write on standard output before it is begun and when it has ended.
#[derive(Debug)]
pub(super) struct Journal {
    inner: Arc<dyn Registry>,
}

impl Journal {
    pub(super) fn new(inner: Arc<dyn Registry>) -> Self {
        Self { inner }
    }
}

/// An operation under way. Dropping it tells that nobody waited for its end.
struct Line(Act);

impl Line {
    fn begin(node: &str, doing: Doing, stamp: Option<Stamp>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let act = Act {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            when: now(),
            pid: std::process::id(),
            node: node.to_owned(),
            doing,
            stamp,
            outcome: None,
        };
        tell(&act);
        Self(act)
    }

    fn end<T>(mut self, result: &Result<T>) {
        self.0.outcome = Some(match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.kind().to_string(),
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.when = now();
        self.0.outcome.get_or_insert_with(|| "dropped".to_owned());
        tell(&self.0);
    }
}

fn tell(act: &Act) {
    if let Ok(line) = serde_json::to_string(act) {
        // Whoever listened may be gone; the closed input ends us then.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Journal {
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
        let node = instance.node.id.to_string();
        let line = Line::begin(&node, Doing::Register, Some(instance.into()));
        let result = self.inner.register(instance, options).await;
        line.end(&result);
        Ok(Box::new(Noted {
            inner: result?,
            node,
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.inner.deregister(key).await
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.inner.lookup(service).await
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.inner.services().await
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.inner.watch(scope).await
    }
}

#[derive(Debug)]
struct Noted {
    inner: Box<dyn Lease>,
    node: String,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for Noted {
    fn ttl(&self) -> Duration {
        self.inner.ttl()
    }

    async fn renew(&mut self) -> Result<()> {
        let line = Line::begin(&self.node, Doing::Renew, None);
        let result = self.inner.renew().await;
        line.end(&result);
        result
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let line = Line::begin(&self.node, Doing::Update, Some(instance.into()));
        let result = self.inner.update(instance).await;
        line.end(&result);
        result
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        let Self { inner, node } = *self;
        let line = Line::begin(&node, Doing::Release, None);
        let result = inner.revoke().await;
        line.end(&result);
        result
    }
}
