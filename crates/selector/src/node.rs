//! One node as tables and threads see it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use waypost_core::{Address, Instance, NodeId};

/// What is known of one node for as long as it stays at its address, whatever its record says.
pub(crate) struct Health {
    /// The last 64 results, newest in the lowest bit; 1 is a failure.
    results: AtomicU64,
    /// Whether the writer holds the node for ejected, unreachable or resting.
    out: AtomicBool,
    /// Whether a call is under way that decides whether the node may return.
    probing: AtomicBool,
    extension: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Health {
    fn new() -> Self {
        Self {
            results: AtomicU64::new(0),
            out: AtomicBool::new(false),
            probing: AtomicBool::new(false),
            extension: OnceLock::new(),
        }
    }

    /// Notes a success; tells whether the writer should know of it. A node without a failure in its
    /// last 64 results costs one load.
    pub(crate) fn succeeded(&self) -> bool {
        if self.results.load(Ordering::Relaxed) != 0 {
            let _ = self
                .results
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| Some(seen << 1));
        }
        self.out.load(Ordering::Relaxed)
    }

    /// Notes a failure; the results with it.
    pub(crate) fn failed(&self) -> u64 {
        let shifted = |seen: u64| Some((seen << 1) | 1);
        match self
            .results
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, shifted)
        {
            Ok(before) | Err(before) => (before << 1) | 1,
        }
    }

    /// Whether nothing speaks against the node: then a success changes nothing.
    pub(crate) fn is_clear(&self) -> bool {
        self.results.load(Ordering::Acquire) == 0 && !self.out.load(Ordering::Acquire)
    }

    pub(crate) fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        self.results.store(0, Ordering::Relaxed);
    }

    pub(crate) fn set_out(&self, out: bool) {
        self.out.store(out, Ordering::Relaxed);
    }

    pub(crate) fn claim_probe(&self) -> bool {
        !self.probing.load(Ordering::Relaxed) && !self.probing.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_probe(&self) {
        self.probing.store(false, Ordering::Release);
    }
}

/// One node of a service, with its record as it was when it was published.
pub struct Node {
    pub(crate) instance: Arc<Instance>,
    pub(crate) health: Arc<Health>,
    /// Where threads keep their counts of it, and whose turn there it is: places are used again.
    pub(crate) place: Place,
}

/// A place in the threads' counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u32,
    pub(crate) epoch: u32,
}

impl Node {
    pub(crate) fn new(instance: Arc<Instance>, place: Place) -> Self {
        Self {
            instance,
            health: Arc::new(Health::new()),
            place,
        }
    }

    /// The same node with another record.
    pub(crate) fn renewed(&self, instance: Arc<Instance>) -> Self {
        Self {
            instance,
            health: Arc::clone(&self.health),
            place: self.place,
        }
    }

    /// The record.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.instance.node.id
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.instance.node.address
    }

    /// What a caller keeps with the node (a connection pool, say) for as long as it stays at its
    /// address; made on first use. One type a balancer: another type than the one kept gives `None`.
    pub fn extension<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.health
            .extension
            .get_or_init(|| Box::new(make()))
            .downcast_ref()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", self.id())
            .field("address", self.address())
            .field("version", &self.instance.version)
            .finish_non_exhaustive()
    }
}
