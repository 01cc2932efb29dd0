//! What must hold for any input: a module of [`check`] a target, and `targets/` only hands the bytes
//! in.
//!
//! Decoders that are private to their crates are compiled in from their sources. So no crate has a
//! door for fuzzing only, and Consul's HTTP client, which decodes nothing, is not built for it.

pub mod check;
mod memory;
mod rules;

#[allow(dead_code, reason = "a target needs a part of it")]
#[rustfmt::skip]
mod sources;

// The names by which the sources know each other.
#[allow(unused_imports, reason = "see above")]
use sources::{owner, tags};
use waypost_core::{Instance, WatchScope};

/// Of Consul's configuration its record needs the facts alone.
mod config {
    use std::time::Duration;

    use waypost_core::Profile;

    pub(crate) const PROFILE: Profile = Profile {
        driver: "fuzz",
        least_ttl: Duration::from_secs(1),
        slack: Duration::ZERO,
        writable: true,
        owned: false,
        tells_loss: true,
        native_watch: true,
        remote: true,
        names_itself: true,
        one_step: true,
        writes_at_once: 256,
    };
}

/// The file registry's clock, which nobody looks at here.
mod clock {
    pub(crate) type Moment = u64;

    #[derive(Debug)]
    pub(crate) struct Boot(pub(crate) String);

    impl Boot {
        pub(crate) const LENGTH: usize = 36;

        pub(crate) fn as_str(&self) -> &str {
            &self.0
        }
    }
}
