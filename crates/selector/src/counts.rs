//! What each thread counts of each node: calls under way and how long they take.
//!
//! A thread writes its own counts, so that picking shares no cache line. What the others count is
//! looked up once in ten milliseconds a node. A pick may end on another thread: its end is counted
//! where it began.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::node::Place;
use crate::slots::Slots;

/// A tick is 2^14 ns (16 µs): 32 bits of them are 19 hours.
const TICK_BITS: u32 = 14;
/// Ticks until other threads' counts of a node are looked up again (10 ms).
const LOOK_AGAIN: u32 = 610;
/// Ticks in which an old latency loses about two thirds of its weight (10 s).
const DECAY: f32 = 610_000.0;
/// What a failed call counts for, at least, in means of successful ones; it is doubled for each further one.
const PENALTY: f32 = 8.0;
/// Most that failures add up to, in microseconds.
const WORST: f32 = 5_000_000.0;

pub(crate) fn ticks(nanoseconds: u64) -> u32 {
    (nanoseconds >> TICK_BITS) as u32
}

/// One thread's counts of one node.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(crate) struct Cell {
    /// Whose cell it is, and below that how many calls have ended, in one word: a call to the slot's
    /// former node that ends while the cell changes hands must not count for the next one.
    ended: AtomicU64,
    /// Written by the owning thread alone.
    started: AtomicU32,
    /// Microseconds, as the bits of an f32; 0 means that nothing is known.
    latency: AtomicU32,
    measured: AtomicU32,
    others: AtomicU32,
    looked: AtomicU32,
}

fn micros(cell: &AtomicU32) -> f32 {
    f32::from_bits(cell.load(Ordering::Relaxed))
}

/// About e^-(age / DECAY), without the cost of `exp`.
fn decay(age: u32) -> f32 {
    let base = 1.0 / (1.0 + age as f32 / (8.0 * DECAY));
    let squared = base * base;
    let fourth = squared * squared;
    fourth * fourth
}

fn epoch(ended: u64) -> u32 {
    (ended >> 32) as u32
}

impl Cell {
    #[inline]
    fn is_of(&self, place: Place) -> bool {
        epoch(self.ended.load(Ordering::Relaxed)) == place.epoch
    }

    /// Makes it the cell of the node that has its slot now.
    #[cold]
    fn begin(&self, epoch: u32) {
        for count in [
            &self.started,
            &self.latency,
            &self.measured,
            &self.others,
            &self.looked,
        ] {
            count.store(0, Ordering::Relaxed);
        }
        let ended = u64::from(epoch) << 32;
        self.ended.store(ended, Ordering::Release);
    }

    #[inline]
    fn own(&self) -> u32 {
        // What has ended is read first: whatever happens in between, no more have ended than begun.
        let ended = self.ended.load(Ordering::Acquire) as u32;
        let under_way = self.started.load(Ordering::Relaxed).wrapping_sub(ended);
        // Except while the cell changes hands.
        if under_way > u32::MAX / 2 {
            0
        } else {
            under_way
        }
    }

    /// Counts the end of a call; not when the cell is another node's by now.
    #[inline]
    fn end(&self, place: Place) -> bool {
        let mut seen = self.ended.load(Ordering::Relaxed);
        while epoch(seen) == place.epoch {
            let next = (seen & !0xffff_ffff) | u64::from((seen as u32).wrapping_add(1));
            match self
                .ended
                .compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Calls under way on all threads, as far as is known.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.own()
            .saturating_add(self.others.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn start(&self) {
        let started = self.started.load(Ordering::Relaxed);
        self.started
            .store(started.wrapping_add(1), Ordering::Relaxed);
    }

    /// The latency to expect at `now`: as measured, and nearer to `mean` the longer that is ago.
    #[inline]
    pub(crate) fn expected(&self, now: u32, mean: f32) -> f32 {
        let latency = micros(&self.latency);
        if latency == 0.0 {
            return mean;
        }
        let age = now.wrapping_sub(self.measured.load(Ordering::Relaxed));
        mean + (latency - mean) * decay(age)
    }

    /// The measured latency in microseconds; 0 when nothing is known.
    pub(crate) fn latency(&self) -> f32 {
        micros(&self.latency)
    }

    fn set(&self, latency: f32, now: u32) {
        self.latency.store(latency.to_bits(), Ordering::Relaxed);
        self.measured.store(now, Ordering::Relaxed);
    }

    /// A slower answer than expected counts at once, faster ones gradually.
    fn measure(&self, sample: f32, now: u32) {
        let known = micros(&self.latency);
        if known == 0.0 || sample >= known {
            return self.set(sample, now);
        }
        let age = now.wrapping_sub(self.measured.load(Ordering::Relaxed));
        // Several within one tick: the last one of them must not hide that time passes.
        if age > 0 {
            self.set(sample + (known - sample) * decay(age), now);
        }
    }
}

/// One thread's counts of all nodes of a service.
pub(crate) struct Counts {
    cells: Slots<Cell>,
    /// Mean latency of successful calls in microseconds, as bits.
    mean: AtomicU32,
    /// Whether the thread still has a seat.
    seated: AtomicBool,
}

impl Counts {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            cells: Slots::default(),
            mean: AtomicU32::new(0),
            seated: AtomicBool::new(true),
        })
    }

    pub(crate) fn leave(&self) {
        self.seated.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_seated(&self) -> bool {
        self.seated.load(Ordering::Relaxed)
    }

    /// The cell of `place`, taken over from whoever had the slot before.
    #[inline]
    pub(crate) fn cell(&self, place: Place) -> Option<&Cell> {
        let cell = self.cells.made(place.slot)?;
        if !cell.is_of(place) {
            cell.begin(place.epoch);
        }
        Some(cell)
    }

    /// The cell of `place`, if this thread has counted the node.
    #[inline]
    pub(crate) fn known(&self, place: Place) -> Option<&Cell> {
        self.cells
            .known(place.slot)
            .filter(|cell| cell.is_of(place))
    }

    /// Never below one microsecond, so that calls under way count before anything was measured.
    pub(crate) fn mean(&self) -> f32 {
        micros(&self.mean).max(1.0)
    }

    /// A call to `place` has ended. `nanoseconds` is 0 where its time was not taken.
    #[inline]
    pub(crate) fn finish(&self, place: Place, success: Option<bool>, nanoseconds: u64, now: u32) {
        let Some(cell) = self.known(place) else {
            return;
        };
        if !cell.end(place) {
            return;
        }
        match success {
            Some(true) if nanoseconds > 0 => self.succeeded(cell, nanoseconds, now),
            Some(false) => self.failed(cell, nanoseconds, now),
            _ => {}
        }
    }

    /// A call to `place` was answered and goes on: its latency is known, and it is under way still.
    pub(crate) fn answered(&self, place: Place, nanoseconds: u64, now: u32) {
        if let Some(cell) = self.known(place) {
            self.succeeded(cell, nanoseconds, now);
        }
    }

    fn succeeded(&self, cell: &Cell, nanoseconds: u64, now: u32) {
        let sample = (nanoseconds as f32 / 1000.0).max(0.001);
        cell.measure(sample, now);
        let mean = micros(&self.mean);
        let mean = if mean == 0.0 {
            sample
        } else {
            mean + (sample - mean) / 64.0
        };
        self.mean.store(mean.to_bits(), Ordering::Relaxed);
    }

    #[cold]
    fn failed(&self, cell: &Cell, nanoseconds: u64, now: u32) {
        let known = micros(&cell.latency);
        let took = nanoseconds as f32 / 1000.0;
        let worse = took.max(PENALTY * self.mean()).max(2.0 * known);
        cell.set(worse.min(WORST.max(took)), now);
    }

    /// Looks up what other threads count of `place`, if that is due.
    #[inline]
    pub(crate) fn look(&self, place: Place, cell: &Cell, peers: &[Arc<Self>], now: u32) {
        if now.wrapping_sub(cell.looked.load(Ordering::Relaxed)) >= LOOK_AGAIN {
            self.look_now(place, cell, peers, now);
        }
    }

    #[cold]
    fn look_now(&self, place: Place, cell: &Cell, peers: &[Arc<Self>], now: u32) {
        cell.looked.store(now, Ordering::Relaxed);
        let mut others = 0_u32;
        for peer in peers {
            if std::ptr::eq(Arc::as_ptr(peer), self) {
                continue;
            }
            let Some(theirs) = peer.known(place) else {
                continue;
            };
            others = others.saturating_add(theirs.own());
            let (measured, latency) = (theirs.measured.load(Ordering::Relaxed), theirs.latency());
            let newer = measured.wrapping_sub(cell.measured.load(Ordering::Relaxed));
            if latency > 0.0
                && (cell.latency() == 0.0 || (LOOK_AGAIN..u32::MAX / 2).contains(&newer))
            {
                cell.set(latency, measured);
            }
        }
        cell.others.store(others, Ordering::Relaxed);
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts")
            .field("mean", &self.mean())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Place = Place { slot: 1, epoch: 1 };

    #[test]
    fn a_slot_used_again_begins_with_nothing_and_an_old_pick_does_not_count_there() {
        let counts = Counts::new();
        counts.cell(ONE).expect("cell").start();
        counts.finish(ONE, Some(false), 1000, 5);
        counts.cell(ONE).expect("cell").start();
        let next = Place { slot: 1, epoch: 2 };
        let cell = counts.cell(next).expect("cell");
        assert_eq!((cell.in_flight(), cell.latency()), (0, 0.0));
        counts.finish(ONE, Some(true), 1000, 6);
        assert_eq!((cell.in_flight(), cell.latency()), (0, 0.0));
    }

    #[test]
    fn slow_counts_at_once_and_fast_gradually_and_silence_leads_to_the_mean() {
        let counts = Counts::new();
        let cell = counts.cell(ONE).expect("cell");
        let sample = |micros: u64, at| {
            cell.start();
            counts.finish(ONE, Some(true), micros * 1000, at);
        };
        sample(100, 10);
        sample(1000, 20);
        assert!(cell.latency() > 999.0);
        sample(100, 30);
        assert!(cell.latency() > 990.0, "{}", cell.latency());
        for second in 1..60 {
            sample(100, second * 61_000);
        }
        assert!(cell.latency() < 110.0, "{}", cell.latency());
        sample(1000, 60 * 61_000);
        let mean = counts.mean();
        let later = cell.expected(180 * 61_000, mean);
        assert!((later - mean).abs() < 0.1 * mean, "{later} {mean}");
        assert_eq!(cell.in_flight(), 0);
    }

    #[test]
    fn a_fast_failure_costs_more_than_any_success() {
        let counts = Counts::new();
        let cell = counts.cell(ONE).expect("cell");
        cell.start();
        counts.finish(ONE, Some(true), 100_000, 10);
        cell.start();
        counts.finish(ONE, Some(false), 1_000, 11);
        let once = cell.latency();
        assert!(once >= 800.0, "{once}");
        for _ in 0..100 {
            cell.start();
            counts.finish(ONE, Some(false), 1_000, 12);
        }
        assert!(cell.latency() > 100.0 * once && cell.latency() <= WORST);
    }

    #[test]
    fn what_another_thread_counts_is_seen_when_it_is_looked_up() {
        let (mine, theirs) = (Counts::new(), Counts::new());
        let peers = [Arc::clone(&mine), Arc::clone(&theirs)];
        theirs.cell(ONE).expect("cell").start();
        theirs.cell(ONE).expect("cell").start();
        theirs.finish(ONE, Some(true), 5_000_000, 100);
        let cell = mine.cell(ONE).expect("cell");
        mine.look(ONE, cell, &peers, 700);
        assert_eq!(cell.in_flight(), 1);
        assert!(cell.latency() > 4999.0);
        theirs.finish(ONE, Some(true), 0, 800);
        mine.look(ONE, cell, &peers, 800);
        assert_eq!(cell.in_flight(), 1, "too soon");
        mine.look(ONE, cell, &peers, 1400);
        assert_eq!(cell.in_flight(), 0);
    }
}
