//! The moment by which a call must be over.

mod bound;
mod wire;

use std::time::Duration;

use tokio::time::Instant;

pub use bound::{Bounded, Expired};
pub use wire::{BadTimeout, GRPC_TIMEOUT, TIMEOUT, TimeoutRule};

/// The furthest deadline: thirty years, which every clock and timer can count.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment by which a call, with all its tries and the waits between them, must be over.
///
/// A value of one word or two, on the monotonic clock: copying it costs nothing, and a wall clock
/// that jumps does not move it. What is left is computed when it is asked for, so that each try and
/// each hop gets what is left *then*.
///
/// ```
/// use std::time::Duration;
/// use waypost_resilience::Deadline;
///
/// let total = Deadline::after(Duration::from_secs(5));
/// let mine = total.earlier(Deadline::after(Duration::from_secs(1)));
/// assert!(mine < total);
/// assert!(mine.remaining() <= Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

impl Deadline {
    /// Nothing starts with less than this left: it could not be answered in time.
    pub const LEAST: Duration = Duration::from_millis(5);

    /// The moment that is `left` from now; at most thirty years.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self::after_at(left, Instant::now())
    }

    /// The moment that is `left` from `now`, for who has read the clock already.
    #[must_use]
    pub fn after_at(left: Duration, now: Instant) -> Self {
        Self(now + left.min(FAR))
    }

    /// One that no call reaches, for streams that stay open.
    #[must_use]
    pub fn never() -> Self {
        Self::after(FAR)
    }

    /// The moment itself.
    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// What is left of it: nothing when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.remaining_at(Instant::now())
    }

    /// What is left of it at `now`, for who has read the clock already.
    #[must_use]
    pub fn remaining_at(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_past(self) -> bool {
        self.0 <= Instant::now()
    }

    /// The earlier of two.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// The earlier of this one and one that may not be.
    #[must_use]
    pub fn earlier_of(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| self.min(other))
    }

    /// Runs `work` until the deadline, and drops it there. Work whose deadline has passed is never
    /// started: it is dropped unpolled.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use waypost_resilience::{Deadline, Expired};
    ///
    /// let deadline = Deadline::after(Duration::from_millis(10));
    /// assert_eq!(deadline.bound(async { 7 }).await, Ok(7));
    /// assert_eq!(deadline.bound(std::future::pending::<u32>()).await, Err(Expired));
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// [`Expired`] when the deadline passed first.
    ///
    /// # Cancel safety
    ///
    /// As safe as `work`: dropping it drops `work`.
    pub fn bound<F: Future>(self, work: F) -> Bounded<F> {
        Bounded::new(work, Some(self))
    }
}

impl From<Instant> for Deadline {
    fn from(at: Instant) -> Self {
        Self(at)
    }
}
