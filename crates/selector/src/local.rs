//! What the picks of one thread from one table share, and how one is chosen from it.

use std::sync::{Arc, Weak};

use crate::clock::Clock;
use crate::compare::Compare;
use crate::counts::{Counts, ticks};
use crate::maglev;
use crate::pace::Pace;
use crate::pick::Pick;
use crate::random::{Random, scaled};
use crate::shared::Shared;
use crate::strategy::{Key, Strategy};
use crate::suspects::Suspects;
use crate::table::{Plan, Set, Table};

/// What the picks of one thread from one table share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) table: Arc<Table>,
    /// Where the strategy or the rules want counts.
    pub(crate) counts: Option<Arc<Counts>>,
    pub(crate) peers: Box<[Arc<Counts>]>,
    pub(crate) suspects: Arc<Suspects>,
    pub(crate) clock: Clock,
    pub(crate) shared: Weak<Shared>,
    /// The balancer's number.
    pub(crate) seat: usize,
}

/// What a thread goes on counting from table to table.
#[derive(Debug)]
pub(crate) struct Progress {
    cursors: Vec<u32>,
    pace: Pace,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            cursors: Vec::new(),
            pace: Pace::new(),
        }
    }
}

/// What was chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) index: u32,
    /// 0 where the time of this call is not taken.
    pub(crate) started: u64,
}

impl Local {
    /// Chooses a node and counts the call; `None` when there is nobody, or the user's own code must
    /// choose.
    #[inline(always)]
    pub(crate) fn choose(
        &self,
        random: &mut Random,
        progress: &mut Progress,
        strategy: &Strategy,
        key: Option<Key>,
    ) -> Option<Choice> {
        let table = &*self.table;
        let mut bits = random.next();
        let (number, set) = match &*table.sets {
            [] => return None,
            [only] => (0, only),
            sets => {
                let number = draw(sets, key.map_or(bits, |key| spread(key.0)));
                bits = random.next();
                (number, sets.get(number)?)
            }
        };
        let index = match strategy {
            Strategy::Random => set.start + scaled(bits, set.len),
            Strategy::RoundRobin => set.start + turn(&mut progress.cursors, number, set.len),
            Strategy::Weighted => by_weight(bits, set)?,
            Strategy::ConsistentHash => by_key(key.map_or(bits, |key| key.0), set)?,
            Strategy::LeastConn => return self.of_two(bits, set, &mut progress.pace, false),
            Strategy::P2cEwma => return self.of_two(bits, set, &mut progress.pace, true),
            Strategy::Custom(_) => return None,
        };
        let started = match &self.counts {
            Some(counts) => {
                counts
                    .cell(table.entries.get(index as usize)?.place)?
                    .start();
                progress.pace.start(&self.clock)
            }
            None => 0,
        };
        Some(Choice { index, started })
    }

    /// The better one of two different nodes of the set, if it has two.
    fn of_two(&self, bits: u64, set: &Set, pace: &mut Pace, latency: bool) -> Option<Choice> {
        let entries = &*self.table.entries;
        let counts = self.counts.as_deref()?;
        let started = pace.start(&self.clock);
        let first = scaled(bits, set.len);
        if set.len < 2 {
            let index = set.start + first;
            counts.cell(entries.get(index as usize)?.place)?.start();
            return Some(Choice { index, started });
        }
        let second = scaled(bits >> 32, set.len - 1);
        let second = second + u32::from(second >= first);
        let compare = Compare {
            counts,
            peers: &self.peers,
            now: ticks(pace.last),
            latency,
        };
        let (index, cell) = compare.better(entries, set.start + first, set.start + second)?;
        cell.start();
        Some(Choice { index, started })
    }

    /// A pick of what was chosen; `held` is this very value.
    #[inline(always)]
    pub(crate) fn pick(held: Arc<Self>, choice: Choice) -> Pick {
        Pick::new(held, choice.index, choice.started)
    }
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

#[inline]
fn by_weight(bits: u64, set: &Set) -> Option<u32> {
    let Plan::Alias(table) = &set.plan else {
        return None;
    };
    let place = scaled(bits, set.len);
    let (threshold, other) = *table.get(place as usize)?;
    let own = ((bits >> 32) as u32) < threshold;
    Some(set.start + std::hint::select_unpredictable(own, place, other))
}

#[inline]
fn by_key(hash: u64, set: &Set) -> Option<u32> {
    let Plan::Maglev(table) = &set.plan else {
        return None;
    };
    let place = maglev::place(hash, table.len());
    Some(set.start + *table.get(place)?)
}

/// The next number below `len` in turn.
#[inline]
fn turn(cursors: &mut Vec<u32>, set: usize, len: u32) -> u32 {
    let Some(cursor) = cursors.get_mut(set) else {
        return first_turn(cursors, set, len);
    };
    let mut now = *cursor;
    if now >= len {
        // One past the end is where a round begins again; more, that there are fewer nodes now.
        now = if now > len { now % len } else { 0 };
    }
    *cursor = now + 1;
    now
}

/// Each thread begins somewhere else.
#[cold]
fn first_turn(cursors: &mut Vec<u32>, set: usize, len: u32) -> u32 {
    cursors.resize_with(set + 1, || fastrand::u32(..u32::MAX / 2));
    let now = cursors.get(set).map_or(0, |cursor| cursor % len);
    if let Some(cursor) = cursors.get_mut(set) {
        *cursor = now + 1;
    }
    now
}
