//! When a pick reads the clock: always on a quiet thread, now and then on a busy one.

use std::cell::Cell;

use crate::clock::Clock;

/// Picks between two readings of the clock on a busy thread.
const SELDOM: u32 = 4;
/// A thread that picks more often than once in this time is busy.
const BUSY: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Pace {
    /// When the clock was read last.
    pub(crate) last: Cell<u64>,
    left: Cell<u32>,
    every: Cell<u32>,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            last: Cell::new(0),
            left: Cell::new(0),
            every: Cell::new(1),
        }
    }

    pub(crate) fn restart(&self) {
        self.last.set(0);
        self.left.set(0);
        self.every.set(1);
    }

    /// The time, if it is taken for this pick, else 0.
    #[inline]
    pub(crate) fn start(&self, clock: &Clock) -> u64 {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                0
            }
            None => self.read(clock),
        }
    }

    fn read(&self, clock: &Clock) -> u64 {
        let now = clock.now();
        let since = now.saturating_sub(self.last.get());
        let busy = since < BUSY * u64::from(self.every.get());
        let every = if busy { SELDOM } else { 1 };
        self.every.set(every);
        self.left.set(every - 1);
        self.last.set(now);
        now
    }
}
