//! When a pick reads the clock: always on a quiet thread, now and then on a busy one.

use crate::clock::Clock;

/// Picks between two readings of the clock on a busy thread.
const SELDOM: u32 = 4;
/// A thread that picks more often than once in this time is busy.
const BUSY: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Pace {
    /// When the clock was read last.
    pub(crate) last: u64,
    left: u32,
    every: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            last: 0,
            left: 0,
            every: 1,
        }
    }

    /// The time, if it is taken for this pick, else 0.
    #[inline]
    pub(crate) fn start(&mut self, clock: &Clock) -> u64 {
        if self.left > 0 {
            self.left -= 1;
            return 0;
        }
        self.read(clock)
    }

    fn read(&mut self, clock: &Clock) -> u64 {
        let now = clock.now();
        let busy = now.saturating_sub(self.last) < BUSY * u64::from(self.every);
        self.every = if busy { SELDOM } else { 1 };
        self.left = self.every - 1;
        self.last = now;
        now
    }
}
