//! Places for nodes that never move, so that they can be read while others are added.

use std::sync::OnceLock;

/// Places of the first chunk; each further one has twice as many.
const FIRST: u32 = 64;
const FIRST_BITS: u32 = FIRST.trailing_zeros();
/// Enough chunks for 2^28 nodes.
const CHUNKS: usize = 22;

/// One `T` a slot; a chunk of them is made when the first of it is wanted.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// All that have been made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let made = self.chunks.iter().filter_map(OnceLock::get);
        made.flat_map(|chunk| chunk.iter())
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> Slots<T> {
    #[inline]
    pub(crate) fn made(&self, slot: u32) -> Option<&T> {
        let (chunk, index) = chunk_of(slot);
        match self.chunks.get(chunk)?.get() {
            Some(all) => all.get(index),
            None => self.make(chunk, index),
        }
    }

    #[cold]
    fn make(&self, chunk: usize, index: usize) -> Option<&T> {
        let all = self.chunks.get(chunk)?;
        let all = all.get_or_init(|| (0..FIRST << chunk).map(|_| T::default()).collect());
        all.get(index)
    }

    /// What is at `slot`, if its chunk has been made.
    #[inline]
    pub(crate) fn known(&self, slot: u32) -> Option<&T> {
        let (chunk, index) = chunk_of(slot);
        self.chunks.get(chunk)?.get()?.get(index)
    }
}

#[inline]
fn chunk_of(slot: u32) -> (usize, usize) {
    let chunk = ((slot >> FIRST_BITS) + 1).ilog2();
    let before = FIRST * ((1 << chunk) - 1);
    (chunk as usize, (slot - before) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fall_into_chunks_without_gap_or_overlap() {
        let mut next = (0, 0);
        for slot in 0..10_000 {
            let (chunk, index) = chunk_of(slot);
            assert_eq!((chunk, index), next, "slot {slot}");
            next = if index + 1 == (FIRST as usize) << chunk {
                (chunk + 1, 0)
            } else {
                (chunk, index + 1)
            };
        }
    }
}
