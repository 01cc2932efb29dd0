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
    /// There until the pick has ended.
    held: Option<Arc<Local>>,
    /// Two words in all travel in registers, and a pick is moved about a lot: out of `pick`, into a
    /// future, with the future.
    word: Word,
}

/// Which node, when it was picked, and whether to try it.
#[derive(Clone, Copy)]
struct Word(u64);

const INDEX_BITS: u32 = 28;
const PROBE: u64 = 1 << INDEX_BITS;
const TIME_SHIFT: u32 = INDEX_BITS + 1;
/// The bits left for the time.
const TIMES: u64 = u64::MAX >> TIME_SHIFT;
/// Time is kept in steps of 64 ns: those bits are enough for 36 minutes.
const STEP_BITS: u32 = 6;
/// Steps (4 ms) by which one processor's clock may be ahead of another's.
const AHEAD: u64 = 1 << 16;

impl Word {
    #[inline(always)]
    fn new(index: u32, started: u64) -> Self {
        let time = match started {
            0 => 0,
            // 0 stands for a time that is not taken.
            started => ((started >> STEP_BITS) << TIME_SHIFT) | (1 << TIME_SHIFT),
        };
        Self((u64::from(index) & (PROBE - 1)) | time)
    }

    #[inline(always)]
    fn index(self) -> u32 {
        (self.0 & (PROBE - 1)) as u32
    }

    #[inline]
    fn is_probe(self) -> bool {
        self.0 & PROBE != 0
    }

    #[inline]
    fn is_timed(self) -> bool {
        self.0 >> TIME_SHIFT != 0
    }

    /// Nanoseconds until `now`; at least one.
    fn took(self, now: u64) -> u64 {
        let steps = (now >> STEP_BITS).wrapping_sub(self.0 >> TIME_SHIFT) & TIMES;
        if steps > TIMES - AHEAD {
            1
        } else {
            (steps << STEP_BITS).max(1)
        }
    }
}

impl Pick {
    /// `started` is 0 where the time of the call is not taken.
    #[inline(always)]
    pub(crate) fn new(held: Arc<Local>, index: u32, started: u64) -> Self {
        Self {
            held: Some(held),
            word: Word::new(index, started),
        }
    }

    pub(crate) fn probing(mut self) -> Self {
        self.word.0 |= PROBE;
        self
    }

    #[expect(clippy::expect_used, reason = "who takes it ends the pick")]
    #[inline]
    fn local(&self) -> &Arc<Local> {
        self.held.as_ref().expect("a pick holds what it is of")
    }

    #[inline]
    fn entry(&self) -> &Entry {
        let table = &self.local().table;
        match table.entries.get(self.word.index() as usize) {
            Some(entry) => entry,
            None => table.entry_aside(self.word.index()),
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
        self.word.is_probe()
    }

    /// Why this node: of which set and how many, what was left out. Costs nothing unless asked.
    #[must_use]
    pub fn why(&self) -> Why {
        Why::of(self.local(), self.word.index(), self.is_probe())
    }

    /// Tells what became of the call.
    #[inline]
    pub fn mark(mut self, outcome: Outcome) {
        self.note(outcome);
        self.end();
    }

    /// Brings back what the pick holds: it has ended.
    #[inline(always)]
    fn end(&mut self) {
        if let Some(held) = self.held.take() {
            thread::give_back(held);
        }
    }

    #[inline]
    fn note(&self, outcome: Outcome) {
        let local = &**self.local();
        let place = self.entry().place;
        let quiet = outcome.is_quiet();
        let timed = self.word.is_timed();
        let now = if timed || !quiet {
            local.clock.now()
        } else {
            0
        };
        if let Some(counts) = &local.counts {
            let took = if timed { self.word.took(now) } else { 0 };
            let success = match outcome.kind {
                Kind::Success => Some(true),
                Kind::Failure | Kind::Unreachable => Some(false),
                Kind::Ignored => None,
            };
            counts.finish(place, success, took, ticks(now));
        }
        let matters = outcome.is_success() && local.suspects.has(place);
        if !quiet || self.is_probe() || matters {
            self.report(outcome, now);
        }
    }

    /// What may change the node's health, and with it the table.
    #[cold]
    fn report(&self, outcome: Outcome, now: u64) {
        let (local, entry) = (self.local(), self.entry());
        let node = &entry.node;
        if self.is_probe() {
            node.health.end_probe();
        }
        let mut news = self.is_probe() || !outcome.is_quiet();
        if outcome.is_success() {
            news |= node.health.succeeded();
            local.suspects.review(entry.place, &node.health);
        }
        if news && let Some(shared) = local.shared.upgrade() {
            let now = if now > 0 { now } else { local.clock.now() };
            shared.note(node, outcome, self.is_probe(), now);
        }
    }
}

impl Drop for Pick {
    #[inline]
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            // Where nothing is counted, one that was not marked leaves nothing to note.
            if held.counts.is_some() || self.is_probe() {
                self.note(Outcome::IGNORED);
            }
            self.end();
        }
    }
}

impl fmt::Debug for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pick")
            .field("node", self.node())
            .field("probe", &self.is_probe())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_are_all_of_a_pick_and_keep_its_time() {
        assert_eq!(size_of::<Pick>(), 16);
        let last = (PROBE - 1) as u32;
        for started in [1, 63, 1_000_000, 1 << 40, (1 << 41) - 1, u64::MAX / 2] {
            let word = Word::new(last, started);
            assert_eq!(word.index(), last);
            assert!(word.is_timed() && !word.is_probe());
            for took in [1_000, 1_000_000, 60_000_000_000, 2_000_000_000_000] {
                let shown = word.took(started + took);
                assert!(shown.abs_diff(took) <= 128, "{started}: {shown} for {took}");
            }
            assert_eq!(word.took(started.saturating_sub(1000)), 1, "a clock behind");
        }
        assert!(!Word::new(7, 0).is_timed());
    }
}
