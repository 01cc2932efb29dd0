//! Which of two nodes has less to expect.

use std::hint::select_unpredictable;
use std::sync::Arc;

use crate::counts::{Cell, Counts};
use crate::table::Entry;

/// Whether the node drawn first is taken. What differs by an eighth is the same: else a node that was
/// a hair slower would not be called, and so not be measured, as long as the others have time.
pub(crate) fn is_no_worse(first: f32, second: f32) -> bool {
    first <= second * 1.125
}

/// Compares nodes by what this thread knows of them.
pub(crate) struct Compare<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) peers: &'a [Arc<Counts>],
    pub(crate) now: u32,
    /// Whether latency counts, or calls under way alone.
    pub(crate) latency: bool,
}

impl Compare<'_> {
    /// The better one of two places in `entries`, and its cell.
    #[inline]
    pub(crate) fn better(
        &self,
        entries: &[Entry],
        first: u32,
        second: u32,
    ) -> Option<(u32, &Cell)> {
        let one = self.cell(entries.get(first as usize)?)?;
        let other = self.cell(entries.get(second as usize)?)?;
        let first_wins = is_no_worse(self.of(one), self.of(other));
        // It cannot be foreseen, and waiting for it costs less than having guessed wrong.
        let (better, index) = select_unpredictable(first_wins, (one, first), (other, second));
        Some((index, better))
    }

    /// What a call to the node has to expect; less is better.
    pub(crate) fn score(&self, entry: &Entry) -> Option<f32> {
        Some(self.of(self.cell(entry)?))
    }

    #[inline]
    fn of(&self, cell: &Cell) -> f32 {
        let waiting = cell.in_flight() as f32 + 1.0;
        if self.latency {
            cell.expected(self.now, self.counts.mean()) * waiting
        } else {
            waiting
        }
    }

    #[inline]
    fn cell(&self, entry: &Entry) -> Option<&Cell> {
        let cell = self.counts.cell(entry.place)?;
        if self.peers.len() > 1 {
            self.counts.look(entry.place, cell, self.peers, self.now);
        }
        Some(cell)
    }
}
