//! Random numbers for picks.

/// Wyrand: one multiplication a number.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Always the same numbers, until it is [seeded](Self::seed).
    pub(crate) const fn unseeded() -> Self {
        Self(0)
    }

    pub(crate) fn seed(&mut self) {
        if self.0 == 0 {
            self.0 = fastrand::u64(1..);
        }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }
}

/// A number below `below`, from 32 random bits.
#[inline]
pub(crate) fn scaled(bits: u64, below: u32) -> u32 {
    (((bits & 0xffff_ffff) * u64::from(below)) >> 32) as u32
}
