//! What a thread keeps of each balancer: the table that it reads, its counts, its cursors. A pick
//! writes nothing else.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::balancer::Shared;
use crate::clock::Clock;
use crate::counts::{Cell, Counts, ticks};
use crate::maglev;
use crate::pick::Pick;
use crate::strategy::{Key, Strategy};
use crate::table::{Entry, Plan, Set, Table};

/// Picks between two readings of the clock on a busy thread.
const SELDOM: u32 = 4;
/// A thread that picks more often than once in this time is busy.
const BUSY: u64 = 100_000;

/// What the picks of one thread from one table share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) table: Arc<Table>,
    /// Where the strategy or the rules want counts.
    pub(crate) counts: Option<Arc<Counts>>,
    pub(crate) peers: Box<[Arc<Counts>]>,
    pub(crate) clock: Clock,
    pub(crate) shared: Weak<Shared>,
}

/// One balancer's place in a thread.
struct Seat {
    /// Of what is read; no other balancer, then or later, has a version of that number.
    version: u64,
    local: Arc<Local>,
    cursors: Vec<u32>,
    pace: Pace,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(counts) = &self.local.counts {
            counts.leave();
        }
    }
}

/// When the clock is read: always on a quiet thread, at every fourth pick on a busy one.
struct Pace {
    last: u64,
    left: u32,
    every: u32,
}

impl Pace {
    /// The time, if it is taken for this pick, else 0.
    fn start(&mut self, clock: &Clock) -> u64 {
        if self.left > 0 {
            self.left -= 1;
            return 0;
        }
        let now = clock.now();
        let busy = now - self.last < BUSY * u64::from(self.every);
        self.every = if busy { SELDOM } else { 1 };
        self.left = self.every - 1;
        self.last = now;
        now
    }
}

#[derive(Default)]
struct Thread {
    random: Random,
    seats: Vec<Option<Seat>>,
}

/// Wyrand: one multiplication a number.
struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(fastrand::u64(..))
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }
}

/// A number below `below`, from 32 random bits.
fn scaled(bits: u64, below: u32) -> u32 {
    (((bits & 0xffff_ffff) * u64::from(below)) >> 32) as u32
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// What came of a quick try.
pub(crate) enum Quick {
    Picked(Pick),
    /// The thread has not read what was published last.
    Stale,
    /// The table wants the clock and its probes looked at first.
    Troubled(Arc<Local>),
    /// There is nobody to pick, or the user's own code must choose.
    Slow(Arc<Local>),
    /// The thread cannot keep anything: it ends, or it is picking already.
    Unseated,
}

/// Picks from the table that this thread has read.
#[inline]
pub(crate) fn quick(
    seat: usize,
    version: u64,
    strategy: &Strategy,
    key: Option<Key>,
    attended: bool,
) -> Quick {
    THREAD
        .try_with(|thread| {
            let Ok(mut thread) = thread.try_borrow_mut() else {
                return Quick::Unseated;
            };
            let Thread { random, seats } = &mut *thread;
            let Some(Some(seat)) = seats.get_mut(seat) else {
                return Quick::Stale;
            };
            if seat.version != version {
                return Quick::Stale;
            }
            if seat.local.table.troubled && !attended {
                return Quick::Troubled(Arc::clone(&seat.local));
            }
            match seat.choose(random, strategy, key) {
                Some(pick) => Quick::Picked(pick),
                None => Quick::Slow(Arc::clone(&seat.local)),
            }
        })
        .unwrap_or(Quick::Unseated)
}

/// What this thread has read, for picks that need more than that.
pub(crate) fn read(seat: usize, version: u64, attended: bool) -> Quick {
    let found = THREAD.try_with(|thread| {
        let thread = thread.try_borrow().ok()?;
        let seat = thread.seats.get(seat).and_then(Option::as_ref);
        let seat = seat.filter(|seat| seat.version == version);
        Some(seat.map(|seat| Arc::clone(&seat.local)))
    });
    match found {
        Ok(Some(Some(local))) if local.table.troubled && !attended => Quick::Troubled(local),
        Ok(Some(Some(local))) => Quick::Slow(local),
        Ok(Some(None)) => Quick::Stale,
        Ok(None) | Err(_) => Quick::Unseated,
    }
}

impl Seat {
    #[inline]
    fn choose(
        &mut self,
        random: &mut Random,
        strategy: &Strategy,
        key: Option<Key>,
    ) -> Option<Pick> {
        let Self {
            local,
            cursors,
            pace,
            ..
        } = self;
        let table = &*local.table;
        let bits = random.next();
        let number = match table.sets.len() {
            1 => 0,
            0 => return None,
            _ => draw(&table.sets, key.map_or(bits, |key| spread(key.0))),
        };
        let set = table.sets.get(number)?;
        let bits = if table.sets.len() > 1 {
            random.next()
        } else {
            bits
        };
        let (index, rival) = match strategy {
            Strategy::Random => (set.start + scaled(bits, set.len), u32::MAX),
            Strategy::RoundRobin => (set.start + turn(cursors, number, set.len), u32::MAX),
            Strategy::Weighted => {
                let place = scaled(bits, set.len);
                let Plan::Alias(table) = &set.plan else {
                    return None;
                };
                let (threshold, other) = *table.get(place as usize)?;
                let own = ((bits >> 32) as u32) < threshold;
                (set.start + if own { place } else { other }, u32::MAX)
            }
            Strategy::ConsistentHash => {
                let Plan::Maglev(table) = &set.plan else {
                    return None;
                };
                let hash = key.map_or(bits, |key| key.0);
                let place = maglev::place(hash, table.len());
                (set.start + *table.get(place)?, u32::MAX)
            }
            Strategy::LeastConn | Strategy::P2cEwma => two(bits, set),
            Strategy::Custom(_) => return None,
        };
        let Some(counts) = &local.counts else {
            return Some(Pick::new(local, index, 0, false));
        };
        let started = pace.start(&local.clock);
        let now = ticks(pace.last);
        let compare = Compare {
            counts,
            peers: &local.peers,
            now,
            latency: matches!(strategy, Strategy::P2cEwma),
        };
        let index = if rival == u32::MAX {
            index
        } else {
            compare.better(table, index, rival)?
        };
        counts
            .cell(table.entries.get(index as usize)?.place)?
            .start();
        Some(Pick::new(local, index, started, true))
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

/// The next number below `len` in turn.
fn turn(cursors: &mut Vec<u32>, set: usize, len: u32) -> u32 {
    if cursors.len() <= set {
        cursors.resize_with(set + 1, || fastrand::u32(..u32::MAX / 2));
    }
    let Some(cursor) = cursors.get_mut(set) else {
        return 0;
    };
    if *cursor >= len {
        *cursor = if *cursor > len { *cursor % len } else { 0 };
    }
    let now = *cursor;
    *cursor += 1;
    now
}

/// Two different nodes of the set, if it has two.
fn two(bits: u64, set: &Set) -> (u32, u32) {
    let first = scaled(bits, set.len);
    if set.len < 2 {
        return (set.start + first, u32::MAX);
    }
    let second = scaled(bits >> 32, set.len - 1);
    let second = second + u32::from(second >= first);
    (set.start + first, set.start + second)
}

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
    fn better(&self, table: &Table, first: u32, second: u32) -> Option<u32> {
        let one = self.score(table.entries.get(first as usize)?)?;
        let other = self.score(table.entries.get(second as usize)?)?;
        Some(if is_no_worse(one, other) {
            first
        } else {
            second
        })
    }

    /// What a call to the node has to expect; less is better.
    pub(crate) fn score(&self, entry: &Entry) -> Option<f32> {
        let cell = self.cell(entry)?;
        let waiting = (cell.in_flight() + 1) as f32;
        Some(if self.latency {
            cell.expected(self.now, self.counts.mean()) * waiting
        } else {
            waiting
        })
    }

    pub(crate) fn cell(&self, entry: &Entry) -> Option<&Cell> {
        let cell = self.counts.cell(entry.place)?;
        if self.peers.len() > 1 {
            self.counts.look(entry.place, cell, self.peers, self.now);
        }
        Some(cell)
    }
}

/// Gives this thread `local` to read at `seat`.
pub(crate) fn seat(seat: usize, version: u64, local: &Arc<Local>) {
    let _ = THREAD.try_with(|thread| {
        let Ok(mut thread) = thread.try_borrow_mut() else {
            return;
        };
        // Balancers that are gone are let go of here, where something is made anyway.
        for left in &mut thread.seats {
            left.take_if(|seat| seat.local.shared.strong_count() == 0);
        }
        if thread.seats.len() <= seat {
            thread.seats.resize_with(seat + 1, || None);
        }
        let Some(place) = thread.seats.get_mut(seat) else {
            return;
        };
        match place {
            Some(known) if same_counts(&known.local, local) => {
                known.version = version;
                known.local = Arc::clone(local);
            }
            _ => {
                *place = Some(Seat {
                    version,
                    local: Arc::clone(local),
                    cursors: Vec::new(),
                    pace: Pace {
                        last: 0,
                        left: 0,
                        every: 1,
                    },
                });
            }
        }
    });
}

fn same_counts(one: &Local, other: &Local) -> bool {
    match (&one.counts, &other.counts) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => Weak::ptr_eq(&one.shared, &other.shared),
        _ => false,
    }
}

/// The counts that this thread has for the balancer at `seat`, if it picked from it before.
pub(crate) fn seated_counts(seat: usize, shared: &Weak<Shared>) -> Option<Arc<Counts>> {
    THREAD
        .try_with(|thread| {
            let thread = thread.try_borrow().ok()?;
            let seat = thread.seats.get(seat)?.as_ref()?;
            if !Weak::ptr_eq(&seat.local.shared, shared) {
                return None;
            }
            seat.local.counts.clone()
        })
        .ok()
        .flatten()
}

/// Numbers for balancers; small, since each is an index in every thread that picks.
#[derive(Debug)]
pub(crate) struct SeatNumber(usize);

static FREE: Mutex<(Vec<usize>, usize)> = Mutex::new((Vec::new(), 0));

impl SeatNumber {
    pub(crate) fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = free.0.pop().unwrap_or(free.1);
        free.1 = free.1.max(number + 1);
        Self(number)
    }

    pub(crate) fn get(&self) -> usize {
        self.0
    }
}

impl Drop for SeatNumber {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.0.push(self.0);
    }
}

/// A number that no table had before, of whatever balancer.
pub(crate) fn next_version() -> u64 {
    static VERSIONS: AtomicU64 = AtomicU64::new(1);
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}
