//! A picked node, and what became of the call to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::Instance;

use crate::counts::ticks;
use crate::explain::Why;
use crate::node::Node;
use crate::table::Entry;
use crate::thread::Local;

/// What a call says about the node that it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) kind: Kind,
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Success,
    Failure,
    Unreachable,
    Ignored,
}

impl Outcome {
    /// The node did what it should. An answer that says what the caller did wrong (4xx) is one too.
    pub const SUCCESS: Self = Self::new(Kind::Success);
    /// The node failed: no answer in time, a broken connection, 5xx.
    pub const FAILURE: Self = Self::new(Kind::Failure);
    /// No connection to the node could be made.
    pub const UNREACHABLE: Self = Self::new(Kind::Unreachable);
    /// Nothing is known: the caller gave up.
    pub const IGNORED: Self = Self::new(Kind::Ignored);

    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            retry_after: None,
        }
    }

    /// The node asked to be left alone for this long (`Retry-After`). A minute at most is believed.
    #[must_use]
    pub const fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    pub(crate) fn is_success(self) -> bool {
        self.kind == Kind::Success
    }

    /// Whether it says nothing against the node.
    pub(crate) fn is_quiet(self) -> bool {
        !matches!(self.kind, Kind::Failure | Kind::Unreachable) && self.retry_after.is_none()
    }
}

/// The longest time that a node may ask to be left alone.
pub(crate) const LONGEST_REST: Duration = Duration::from_secs(60);

/// A picked node: owned, `Send` and `'static`.
///
/// Tell with [`Pick::mark`] what became of the call. One that is dropped unmarked counts as neither
/// success nor failure.
#[must_use = "the call to the node counts as under way until it is marked or dropped"]
pub struct Pick {
    local: Arc<Local>,
    index: u32,
    counted: bool,
    probe: bool,
    ended: bool,
    /// 0 where the time of this call is not taken.
    started: u64,
    /// How long the answer took to begin; 0 while it has not.
    took: u64,
}

impl Pick {
    #[inline]
    pub(crate) fn new(local: &Arc<Local>, index: u32, started: u64, counted: bool) -> Self {
        Self {
            local: Arc::clone(local),
            index,
            counted,
            probe: false,
            ended: false,
            started,
            took: 0,
        }
    }

    pub(crate) fn probing(mut self) -> Self {
        self.probe = true;
        self
    }

    fn entry(&self) -> &Entry {
        match self.local.table.entry(self.index) {
            Some(entry) => entry,
            // An index is drawn from the table that is held here.
            None => &self.local.table.entries[0],
        }
    }

    /// The picked node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.entry().node
    }

    /// The picked node, to keep.
    #[must_use]
    pub fn shared_node(&self) -> Arc<Node> {
        Arc::clone(&self.entry().node)
    }

    /// The picked node's record.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        self.node().instance()
    }

    /// Whether this call decides if an ejected node returns.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Why this node: of which set and how many, what was left out. Costs nothing unless asked.
    #[must_use]
    pub fn why(&self) -> Why {
        Why::of(&self.local, self.index, self.probe)
    }

    /// Tells that the answer has begun: the time until now is the call's latency, however long its
    /// body takes. The call is under way until it is marked or dropped.
    pub fn answered(&mut self) {
        if self.started > 0 && self.took == 0 {
            self.took = self.local.clock.now().saturating_sub(self.started).max(1);
        }
    }

    /// Tells what became of the call.
    pub fn mark(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    #[inline]
    fn settle(&mut self, outcome: Outcome) {
        self.ended = true;
        let quiet = outcome.is_quiet();
        let local = &*self.local;
        let now = if self.started > 0 || !quiet {
            local.clock.now()
        } else {
            0
        };
        let entry = self.entry();
        if self.counted
            && let Some(counts) = &local.counts
        {
            let took = match (self.started, self.took) {
                (0, _) => 0,
                (started, 0) => now - started,
                (_, took) => took,
            };
            let success = match outcome.kind {
                Kind::Success => Some(true),
                Kind::Failure | Kind::Unreachable => Some(false),
                Kind::Ignored => None,
            };
            counts.finish(entry.place, success, took, ticks(now));
        }
        let health = &entry.node.health;
        let news = outcome.kind == Kind::Success && health.succeeded();
        if news || !quiet || self.probe {
            self.report(outcome, now);
        }
    }

    /// What the writer must know, since it may change the table.
    #[cold]
    fn report(&self, outcome: Outcome, now: u64) {
        let node = self.node();
        if self.probe {
            node.health.end_probe();
        }
        if let Some(shared) = self.local.shared.upgrade() {
            let now = if now > 0 { now } else { self.local.clock.now() };
            shared.note(node, outcome, self.probe, now);
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if !self.ended {
            self.settle(Outcome::IGNORED);
        }
    }
}

impl fmt::Debug for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pick")
            .field("node", self.node())
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}
