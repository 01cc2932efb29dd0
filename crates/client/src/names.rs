//! Hashing the names of services, which every call looks up.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`Fnv`].
pub(crate) type ByName = BuildHasherDefault<Fnv>;

/// FNV-1a. Only services that the registry knows are in the map, so that nobody can crowd it.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
