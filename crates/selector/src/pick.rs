//! A picked node, and what became of the call to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::Instance;

use crate::counts::ticks;
use crate::explain::Why;
use crate::local::Local;
use crate::node::Node;
use crate::table::Entry;
use crate::thread;

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
    /// There until the pick is dropped.
    held: Option<Arc<Local>>,
    index: u32,
    counted: bool,
    probe: bool,
    ended: bool,
    /// 0 where the time of this call is not taken.
    started: u64,
}

impl Pick {
    #[inline]
    pub(crate) fn new(held: Arc<Local>, index: u32, started: u64, counted: bool) -> Self {
        Self {
            held: Some(held),
            index,
            counted,
            probe: false,
            ended: false,
            started,
        }
    }

    pub(crate) fn probing(mut self) -> Self {
        self.probe = true;
        self
    }

    #[expect(
        clippy::expect_used,
        reason = "only `drop` takes it, and nothing comes after"
    )]
    #[inline]
    fn local(&self) -> &Arc<Local> {
        self.held.as_ref().expect("a pick holds what it is of")
    }

    #[inline]
    fn entry(&self) -> &Entry {
        let table = &self.local().table;
        match table.entries.get(self.index as usize) {
            Some(entry) => entry,
            None => table.entry_aside(self.index),
        }
    }

    /// The picked node.
    #[must_use]
    #[inline]
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
        Why::of(self.local(), self.index, self.probe)
    }

    /// Tells what became of the call.
    #[inline]
    pub fn mark(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    #[inline]
    fn settle(&mut self, outcome: Outcome) {
        self.ended = true;
        let local = &**self.local();
        let place = self.entry().place;
        let quiet = outcome.is_quiet();
        let now = if self.started > 0 || !quiet {
            local.clock.now()
        } else {
            0
        };
        if self.counted
            && let Some(counts) = &local.counts
        {
            // It may have begun on another processor, whose clock is a little ahead.
            let took = match self.started {
                0 => 0,
                started => now.saturating_sub(started).max(1),
            };
            let success = match outcome.kind {
                Kind::Success => Some(true),
                Kind::Failure | Kind::Unreachable => Some(false),
                Kind::Ignored => None,
            };
            counts.finish(place, success, took, ticks(now));
        }
        if !quiet || self.probe || (outcome.is_success() && local.suspects.has(place)) {
            self.report(outcome, now);
        }
    }

    /// What may change the node's health, and with it the table.
    #[cold]
    fn report(&self, outcome: Outcome, now: u64) {
        let (local, entry) = (self.local(), self.entry());
        let node = &entry.node;
        if self.probe {
            node.health.end_probe();
        }
        let mut news = self.probe || !outcome.is_quiet();
        if outcome.is_success() {
            news |= node.health.succeeded();
            local.suspects.review(entry.place, &node.health);
        }
        if news && let Some(shared) = local.shared.upgrade() {
            let now = if now > 0 { now } else { local.clock.now() };
            shared.note(node, outcome, self.probe, now);
        }
    }
}

impl Drop for Pick {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            self.settle(Outcome::IGNORED);
        }
        if let Some(held) = self.held.take() {
            thread::give_back(held);
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
