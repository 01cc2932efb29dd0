//! What the picks of one thread from one table share, and how one is chosen from it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use crate::clock::Clock;
use crate::compare::Compare;
use crate::counts::{Counts, ticks};
use crate::maglev;
use crate::pace::Pace;
use crate::pick::Word;
use crate::shared::Shared;
use crate::strategy::Key;
use crate::suspects::Suspects;
use crate::table::{Entry, Plan, Quick, Set, Table};
use crate::thread::random;

/// What the picks of one thread from one table share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) table: Arc<Table>,
    /// The table's: a pick follows one pointer less.
    pub(crate) entries: Arc<[Entry]>,
    pub(crate) sets: Arc<[Set]>,
    pub(crate) quick: Quick,
    /// One a set, where there are several. Written by the thread that reads this alone.
    pub(crate) cursors: Box<[AtomicU32]>,
    /// Where the strategy or the rules want counts.
    pub(crate) counts: Option<Arc<Counts>>,
    pub(crate) peers: Box<[Arc<Counts>]>,
    pub(crate) suspects: Arc<Suspects>,
    pub(crate) clock: Clock,
    pub(crate) shared: Weak<Shared>,
    /// Where threads keep what is the balancer's.
    pub(crate) seat: u32,
}

/// Where a thread stands with a balancer.
#[derive(Debug)]
pub(crate) struct Progress {
    pace: Pace,
    /// Where all nodes are one set; else each set has its own.
    cursor: Cell<u32>,
}

impl Progress {
    pub(crate) const fn new() -> Self {
        Self {
            pace: Pace::new(),
            cursor: Cell::new(0),
        }
    }

    /// Begins anew, for another balancer.
    pub(crate) fn restart(&self) {
        self.pace.restart();
        self.cursor.set(somewhere());
    }

    #[inline(always)]
    pub(crate) fn turn(&self, len: u32) -> u32 {
        let now = wrapped(self.cursor.get(), len);
        self.cursor.set(now + 1);
        now
    }
}

/// Where a cursor begins: each thread's somewhere else.
fn somewhere() -> u32 {
    fastrand::u32(..u32::MAX / 2)
}

/// The cursors of so many sets. Of one, the thread has it at hand.
pub(crate) fn cursors(sets: usize) -> Box<[AtomicU32]> {
    let own = if sets > 1 { sets } else { 0 };
    (0..own).map(|_| AtomicU32::new(somewhere())).collect()
}

#[inline(always)]
fn wrapped(cursor: u32, len: u32) -> u32 {
    if cursor < len {
        cursor
    } else {
        cursor.checked_rem(len).unwrap_or(0)
    }
}

impl Local {
    /// Goes on where `former` stands.
    pub(crate) fn go_on(&self, former: &Self) {
        for (own, theirs) in self.cursors.iter().zip(&former.cursors) {
            own.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The entry at an index that was drawn here.
    #[inline]
    pub(crate) fn entry(&self, index: u32) -> &Entry {
        match self.entries.get(index as usize) {
            Some(entry) => entry,
            None => self.table.entry_aside(index),
        }
    }

    fn turn(&self, progress: &Progress, set: usize, len: u32) -> u32 {
        let Some(cursor) = self.cursors.get(set) else {
            return progress.turn(len);
        };
        let now = wrapped(cursor.load(Ordering::Relaxed), len);
        cursor.store(now + 1, Ordering::Relaxed);
        now
    }

    /// Chooses a node where that takes a few steps only.
    #[inline(always)]
    pub(crate) fn choose_quickly(
        &self,
        key: Option<Key>,
        turn: impl FnOnce(u32) -> Option<u32>,
    ) -> Option<u32> {
        let hash = || key.map_or_else(random, |key| key.0);
        match &self.quick {
            Quick::Random { len } => Some(scaled(random(), *len)),
            Quick::InTurn { len } => turn(*len),
            Quick::Alias(table) => by_weight(random(), table),
            Quick::Narrow(owners) => maglev::of(owners, hash()),
            Quick::Wide(owners) => maglev::of(owners, hash()),
            Quick::No => None,
        }
    }

    /// Chooses a node and counts the call; `None` when there is nobody, or the user's own code must
    /// choose.
    pub(crate) fn choose(&self, progress: &Progress, key: Option<Key>) -> Option<Word> {
        let mut bits = random();
        let (number, set) = match &*self.sets {
            [] => return None,
            [only] => (0, only),
            sets => {
                let number = draw(sets, key.map_or(bits, |key| spread(key.0)));
                bits = random();
                (number, sets.get(number)?)
            }
        };
        let index = match &set.plan {
            Plan::Random => scaled(bits, set.len),
            Plan::InTurn => self.turn(progress, number, set.len),
            Plan::Alias(table) => by_weight(bits, table)?,
            Plan::Maglev(owners) => owners.of(key.map_or(bits, |key| key.0))?,
            Plan::OfTwo { latency } => return self.of_two(bits, set, &progress.pace, *latency),
            Plan::Custom => return None,
        };
        let index = set.start + index;
        let started = match &self.counts {
            Some(counts) => {
                counts
                    .cell(self.entries.get(index as usize)?.place)?
                    .start();
                progress.pace.start(&self.clock)
            }
            None => 0,
        };
        Some(Word::new(index, started))
    }

    /// The better one of two different nodes of the set, if it has two.
    fn of_two(&self, bits: u64, set: &Set, pace: &Pace, latency: bool) -> Option<Word> {
        let entries = &*self.entries;
        let counts = self.counts.as_deref()?;
        let started = pace.start(&self.clock);
        let first = scaled(bits, set.len);
        if set.len < 2 {
            let index = set.start + first;
            counts.cell(entries.get(index as usize)?.place)?.start();
            return Some(Word::new(index, started));
        }
        let second = scaled(bits >> 32, set.len - 1);
        let second = second + u32::from(second >= first);
        let compare = Compare {
            counts,
            peers: &self.peers,
            now: ticks(pace.last.get()),
            latency,
        };
        let (index, cell) = compare.better(entries, set.start + first, set.start + second)?;
        cell.start();
        Some(Word::new(index, started))
    }
}

/// A number below `below`, from 32 random bits.
#[inline(always)]
fn scaled(bits: u64, below: u32) -> u32 {
    (((bits & 0xffff_ffff) * u64::from(below)) >> 32) as u32
}

/// The set whose share `bits` fall into.
fn draw(sets: &[Set], bits: u64) -> usize {
    let set = sets.iter().position(|set| bits < set.cut);
    set.unwrap_or(sets.len() - 1)
}

/// Other bits than those that the same key draws in a consistent table.
fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

#[inline(always)]
fn by_weight(bits: u64, table: &[(u32, u32)]) -> Option<u32> {
    let place = scaled(bits, table.len() as u32);
    let (threshold, other) = *table.get(place as usize)?;
    let own = ((bits >> 32) as u32) < threshold;
    Some(std::hint::select_unpredictable(own, place, other))
}
