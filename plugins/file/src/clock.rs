//! Time that every process of one boot agrees on.
//!
//! Wall clocks jump, hence deadlines are nanoseconds of the system's monotonic clock, which is one
//! for all processes of a boot, and the boot is named beside them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use waypost_core::Result;

use crate::error;

/// Nanoseconds since some moment of this boot.
pub(crate) type Moment = u64;

pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

pub(crate) fn after(now: Moment, span: Duration) -> Moment {
    now.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// The same moment for a timer.
pub(crate) fn instant(moment: Moment) -> Instant {
    Instant::now() + Duration::from_nanos(moment.saturating_sub(now()))
}

/// Names one boot of one machine: a UUID as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot(String);

impl Boot {
    /// Bytes of its text.
    pub(crate) const LENGTH: usize = 36;

    /// The boot that this process runs in.
    pub(crate) fn current() -> Result<Self> {
        const PATH: &str = "/proc/sys/kernel/random/boot_id";
        match std::fs::read_to_string(PATH) {
            Ok(text) if is_id(text.trim()) => Ok(Self(text.trim().to_owned())),
            Ok(_) => Err(error::no_boot_id(PATH)),
            Err(cause) => Err(error::no_boot_id(PATH).with_source(cause)),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn named(id: &str) -> Self {
        assert!(is_id(id));
        Self(id.to_owned())
    }
}

fn is_id(text: &str) -> bool {
    text.len() == Boot::LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_the_boot_stays() {
        let before = now();
        assert!(now() >= before && before > 0);
        assert_eq!(after(before, Duration::from_millis(1)), before + 1_000_000);
        assert_eq!(after(before, Duration::MAX), u64::MAX);
        assert_eq!(
            Boot::current().expect("boot"),
            Boot::current().expect("boot")
        );
    }
}
