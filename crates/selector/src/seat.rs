//! Numbers for balancers and for what they publish.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A balancer's number; small, since it is an index in every thread that picks, and used again.
#[derive(Debug)]
pub(crate) struct SeatNumber(u32);

static FREE: Mutex<(Vec<u32>, u32)> = Mutex::new((Vec::new(), 0));

impl SeatNumber {
    pub(crate) fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = free.0.pop().unwrap_or(free.1);
        free.1 = free.1.max(number + 1);
        Self(number)
    }

    #[inline]
    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for SeatNumber {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.0.push(self.0);
    }
}

/// A number that no table had before, of whatever balancer; never 0.
pub(crate) fn next_version() -> u64 {
    static VERSIONS: AtomicU64 = AtomicU64::new(1);
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}
