//! The contract between the house and a backend.
//!
//! Laws, each with a case in the conformance suite:
//!
//! * A watch begins with [`Event::Snapshot`]. An `Err` ends it; whoever watches anew begins with a
//!   snapshot again, so that nothing missed stays missed, deletions included.
//! * Every change of a batch arrives, in one [`Event::Changed`].
//! * An empty snapshot is authoritative. A plugin that cannot prove emptiness returns
//!   [`ErrorKind::Denied`] or [`ErrorKind::Unavailable`] instead.
//! * [`Registry::register`] is idempotent. A dropped lease, or a dropped `register` future, leaves
//!   nothing that outlives the ttl.
//! * [`Lease::revoke`] and a late [`Lease::renew`] never touch a record that somebody else owns.
//! * The owner's death removes the record within the granted ttl plus [`Profile::slack`].
//! * The key is the authority: a record whose name or node, encoded, is not its key is skipped. A
//!   bad record is skipped and counted ([`Registry::skipped`]), and never hides a good one.
//!
//! [`ErrorKind::Denied`]: crate::ErrorKind::Denied
//! [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;

use crate::{Error, Instance, InstanceKey, Result, ServiceName, SkipLog};

/// A place where services register and are found.
///
/// Object-safe, because the backend is chosen at run time. Methods have no default bodies;
/// conveniences live in [`RegistryExt`](crate::RegistryExt).
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Facts about this backend that callers may rely on.
    fn profile(&self) -> &Profile;

    /// The account of records this registry had to skip.
    fn skipped(&self) -> &SkipLog;

    /// Writes the record of `instance` and holds it under a lease of `options.ttl`.
    ///
    /// Replaces a record of the same key, whoever wrote it, without a moment in which there is
    /// none. The granted ttl may differ from the one asked for; see [`Lease::ttl`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) below [`Profile::least_ttl`] or for an
    /// instance that breaks a rule.
    ///
    /// # Cancel safety
    /// A dropped future leaves at most a record that its ttl removes.
    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>>;

    /// Removes a record, whoever owns it. Removing what is not there succeeds.
    ///
    /// A living owner notices and registers again: this is for records that nobody tends.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have removed the record.
    async fn deregister(&self, key: &InstanceKey) -> Result<()>;

    /// The live instances of a service, read fresh. An unknown service has none.
    ///
    /// # Cancel safety
    /// Safe.
    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>>;

    /// The names of all services with at least one live node, in order.
    ///
    /// # Cancel safety
    /// Safe.
    async fn services(&self) -> Result<Vec<ServiceName>>;

    /// Follows a service, or all of them.
    ///
    /// # Cancel safety
    /// Safe; dropping the returned watcher frees everything that it held.
    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher>;
}

/// One record's claim to be kept: renew it, or the backend removes the record after the ttl.
///
/// Dropping a lease stops nothing and removes nothing: the record goes when the ttl has passed.
#[async_trait]
pub trait Lease: fmt::Debug + Send + Sync + 'static {
    /// The ttl that the backend granted.
    fn ttl(&self) -> Duration;

    /// Asks the backend to keep the record for another ttl.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`](crate::ErrorKind::LeaseLost) when the record or the lease is gone
    /// or somebody else's: register again.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have renewed.
    async fn renew(&mut self) -> Result<()>;

    /// Writes new content under the same lease; unchanged content writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`](crate::ErrorKind::LeaseLost) when the record is no longer ours;
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when `instance` has another key.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have written.
    async fn update(&mut self, instance: &Instance) -> Result<()>;

    /// Resolves when the backend tells that the lease or the record is lost; pending for ever
    /// where it cannot tell ([`Profile::tells_loss`]).
    ///
    /// # Cancel safety
    /// Safe; call it again at any time.
    async fn lost(&self) -> Error;

    /// Ends the lease and removes the record, if it is still ours. Final.
    ///
    /// # Cancel safety
    /// A dropped future may leave the record, which then goes with its ttl.
    async fn revoke(self: Box<Self>) -> Result<()>;
}

/// A stream of [`Event`]s: the name for what [`Registry::watch`] returns.
///
/// Implemented for every fitting stream. Being a stream, it is cancel-safe by construction.
pub trait Watcher: Stream<Item = Result<Event>> + Send {}

impl<S: Stream<Item = Result<Event>> + Send + ?Sized> Watcher for S {}

/// A boxed [`Watcher`].
pub type BoxWatcher = Pin<Box<dyn Watcher>>;

/// What a watcher tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All there is, now. Whatever the reader knew and is not in it is gone.
    Snapshot(Vec<Arc<Instance>>),
    /// What has changed since, all at once.
    Changed(Vec<Change>),
    /// Nothing has changed; what was told is still true.
    Confirmed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record is new or has new content.
    Upsert(Arc<Instance>),
    /// The record is gone.
    Remove(InstanceKey),
}

impl Change {
    /// The key of the record that changed.
    #[must_use]
    pub fn key(&self) -> InstanceKey {
        match self {
            Self::Upsert(instance) => instance.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

/// What to follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchScope {
    /// Every service.
    All,
    /// One service.
    Service(ServiceName),
}

impl WatchScope {
    /// Whether a record of `service` is within the scope.
    #[must_use]
    pub fn covers(&self, service: &ServiceName) -> bool {
        match self {
            Self::All => true,
            Self::Service(name) => name == service,
        }
    }
}

impl From<ServiceName> for WatchScope {
    fn from(name: ServiceName) -> Self {
        Self::Service(name)
    }
}

impl fmt::Display for WatchScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Service(name) => fmt::Display::fmt(name, f),
        }
    }
}

/// How to register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisterOptions {
    /// How long the backend keeps a record that nobody renews.
    pub ttl: Duration,
}

impl RegisterOptions {
    /// Registers with this ttl.
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self { ttl }
    }
}

/// Facts about a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Name of the driver: `etcd`, `file`, …
    pub driver: &'static str,
    /// Shortest ttl that it takes.
    pub least_ttl: Duration,
    /// How much later than the ttl it may remove a dead owner's record.
    pub slack: Duration,
    /// Whether records can be written at all.
    pub writable: bool,
    /// Whether a record lives only as long as the process that wrote it (`register --once` is
    /// refused then).
    pub owned: bool,
    /// Whether [`Lease::lost`] resolves when a record is removed behind its owner's back.
    pub tells_loss: bool,
    /// Whether changes are pushed by the backend; otherwise they are found by a paced relist.
    pub native_watch: bool,
    /// Whether other machines can see the records.
    pub remote: bool,
    /// Whether a record says of which service and node it is, beside its key, and so may
    /// contradict it.
    pub names_itself: bool,
    /// Whether a change of several parts is one step: a record that is taken over is never absent
    /// in between, and a batch arrives whole.
    pub one_step: bool,
    /// Registrations and releases of one process that it takes at once; others wait for their turn
    /// before their time begins. 0 means 1.
    pub writes_at_once: u16,
}

/// Object safety is part of the contract: the backend is chosen at run time.
const _: Option<(&dyn Registry, &dyn Lease, &dyn Watcher)> = None;
