//! What happens to bytes on their way.

use std::sync::Arc;
use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// Both.
    Both,
}

/// The faults of one direction. The default has none.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Link {
    /// How much later bytes arrive.
    pub latency: Duration,
    /// By how much the latency varies, up or down; order is kept.
    pub jitter: Duration,
    /// Bytes a second, if limited.
    pub bandwidth: Option<u32>,
    /// Bytes a write, if they are to arrive in slices.
    pub slice: Option<usize>,
    /// Arrives in place of whatever is sent.
    pub garbage: Option<Arc<[u8]>>,
    /// How many bytes of a connection pass before it is closed.
    pub limit: Option<u64>,
    /// How much later the end of the stream arrives.
    pub slow_close: Duration,
}

impl Link {
    /// Delays bytes.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Varies the latency, up or down.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Lets so many bytes a second pass.
    #[must_use]
    pub fn with_bandwidth(mut self, bytes_a_second: u32) -> Self {
        self.bandwidth = Some(bytes_a_second.max(1));
        self
    }

    /// Writes slices of so many bytes, a millisecond apart.
    #[must_use]
    pub fn with_slice(mut self, bytes: usize) -> Self {
        self.slice = Some(bytes.max(1));
        self
    }

    /// Passes these bytes in place of whatever is sent.
    #[must_use]
    pub fn with_garbage(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.garbage = Some(bytes.into());
        self
    }

    /// Closes a connection after so many bytes of it, in the middle of whatever it is.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Delays the end of the stream.
    #[must_use]
    pub fn with_slow_close(mut self, delay: Duration) -> Self {
        self.slow_close = delay;
        self
    }

    /// The delay of the next bytes.
    pub(super) fn delay(&self) -> Duration {
        let varied = self.latency + self.jitter.mul_f64(2.0 * fastrand::f64());
        varied.saturating_sub(self.jitter)
    }
}
