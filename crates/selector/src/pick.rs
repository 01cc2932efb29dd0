//! A picked node, and what became of the call to it.

use std::fmt;
use std::num::NonZeroU64;
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

/// Which node (the upper bits), when it was picked, and three marks. One mark is always there: what is
/// never 0 leaves room for an error in a result of two words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word(NonZeroU64);

/// The call decides whether the node returns.
const PROBE: u64 = 1 << 1;
/// Nothing is noted when the pick is dropped.
const PLAIN: u64 = 1 << 2;
const TIME_SHIFT: u32 = 3;
const TIME_BITS: u32 = 35;
const TIMES: u64 = (1 << TIME_BITS) - 1;
/// Time is kept in steps of 64 ns: those bits are enough for 36 minutes.
const STEP_BITS: u32 = 6;
/// Steps (4 ms) by which one processor's clock may be ahead of another's.
const AHEAD: u64 = 1 << 16;
const INDEX_SHIFT: u32 = TIME_SHIFT + TIME_BITS;

impl Word {
    fn untimed(self) -> Self {
        Self(NonZeroU64::MIN | (self.0.get() & !(TIMES << TIME_SHIFT)))
    }

    /// `started` is 0 where the time of the call is not taken.
    #[inline(always)]
    pub(crate) fn new(index: u32, started: u64) -> Self {
        let time = match started {
            0 => 0,
            // 0 stands for a time that is not taken.
            started => (started >> STEP_BITS) & TIMES | 1,
        };
        Self::with(index, time << TIME_SHIFT)
    }

    /// Of a pick that leaves nothing to note when it is dropped.
    #[inline(always)]
    pub(crate) fn plain(index: u32) -> Self {
        Self::with(index, PLAIN)
    }

    #[inline(always)]
    fn with(index: u32, lower: u64) -> Self {
        Self(NonZeroU64::MIN | (u64::from(index) << INDEX_SHIFT) | lower)
    }

    #[inline(always)]
    fn index(self) -> u32 {
        (self.0.get() >> INDEX_SHIFT) as u32
    }

    #[inline]
    fn time(self) -> u64 {
        (self.0.get() >> TIME_SHIFT) & TIMES
    }

    #[inline]
    fn is_probe(self) -> bool {
        self.0.get() & PROBE != 0
    }

    #[inline(always)]
    fn is_plain(self) -> bool {
        self.0.get() & PLAIN != 0
    }

    #[inline]
    fn is_timed(self) -> bool {
        self.time() != 0
    }

    /// Nanoseconds until `now`; at least one.
    fn took(self, now: u64) -> u64 {
        let steps = (now >> STEP_BITS).wrapping_sub(self.time()) & TIMES;
        if steps > TIMES - AHEAD {
            1
        } else {
            (steps << STEP_BITS).max(1)
        }
    }
}

impl Pick {
    #[inline(always)]
    pub(crate) const fn new(held: Arc<Local>, word: Word) -> Self {
        Self {
            held: Some(held),
            word,
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
        self.local().entry(self.word.index())
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

    /// Tells that the answer has begun, where it goes on for long: a stream that stays open for an hour
    /// is no slow answer. Its latency is taken now; the call stays under way until it is marked.
    pub fn answered(&mut self) {
        let local = self.local();
        if let Some(counts) = local.counts.as_ref().filter(|_| self.word.is_timed()) {
            let now = local.clock.now();
            let place = local.entry(self.word.index()).place;
            counts.answered(place, self.word.took(now), ticks(now));
            self.word = self.word.untimed();
        }
    }

    /// Tells what became of the call.
    #[inline]
    pub fn mark(mut self, outcome: Outcome) {
        if let Some(held) = self.held.take() {
            note(&held, self.word, outcome);
            thread::give_back(held);
        }
    }
}

/// What became of a call is noted.
fn note(local: &Local, word: Word, outcome: Outcome) {
    let entry = local.entry(word.index());
    let quiet = outcome.is_quiet();
    let timed = word.is_timed();
    let now = if timed || !quiet {
        local.clock.now()
    } else {
        0
    };
    if let Some(counts) = &local.counts {
        let took = if timed { word.took(now) } else { 0 };
        let success = match outcome.kind {
            Kind::Success => Some(true),
            Kind::Failure | Kind::Unreachable => Some(false),
            Kind::Ignored => None,
        };
        counts.finish(entry.place, success, took, ticks(now));
    }
    let matters = outcome.is_success() && local.suspects.has(entry.place);
    if !quiet || word.is_probe() || matters {
        report(local, entry, word.is_probe(), outcome, now);
    }
}

/// What may change the node's health, and with it the table.
#[cold]
fn report(local: &Local, entry: &Entry, probe: bool, outcome: Outcome, now: u64) {
    let node = &entry.node;
    if probe {
        node.health.end_probe();
    }
    let mut news = probe || !outcome.is_quiet();
    if outcome.is_success() {
        news |= node.health.succeeded();
        local.suspects.review(entry.place, &node.health);
    }
    if news && let Some(shared) = local.shared.upgrade() {
        let now = if now > 0 { now } else { local.clock.now() };
        shared.note(node, outcome, probe, now);
    }
}

impl Drop for Pick {
    // One call, by value: so little is put where the pick ends, and the pick need not be in memory.
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            end(held, self.word);
        }
    }
}

/// Ends a pick that was not marked.
#[inline(never)]
fn end(held: Arc<Local>, word: Word) {
    if word.is_plain() {
        thread::give_back(held);
    } else {
        ignore(held, word);
    }
}

#[inline(never)]
fn ignore(held: Arc<Local>, word: Word) {
    note(&held, word, Outcome::IGNORED);
    thread::give_back(held);
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
        assert_eq!(size_of::<Result<Pick, crate::NoneAvailable>>(), 16);
        let last = (u64::MAX >> INDEX_SHIFT) as u32;
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
        let untimed = Word::new(7, 1 << 40).untimed();
        assert!(!untimed.is_timed() && untimed.index() == 7);
    }
}
