//! Time as counts need it: nanoseconds since the balancer was made, for half of what the standard
//! clock costs.

/// Reads nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    inner: quanta::Clock,
    base: u64,
}

impl Clock {
    pub(crate) fn new(inner: quanta::Clock) -> Self {
        let base = inner.raw();
        Self { inner, base }
    }

    pub(crate) fn now(&self) -> u64 {
        // Never 0, which stands for "not measured".
        self.inner.delta_as_nanos(self.base, self.inner.raw()) + 1
    }
}
