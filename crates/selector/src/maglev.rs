//! Consistent hashing by a table: a key is one look into it.
//!
//! The table is Maglev's (Eisenbud et al., NSDI 2016, section 3.4): each node walks through it in an
//! order of its own. It is filled another way: there, nodes take free places in turn, so that a node
//! that goes shifts the turns of all others, and with N nodes some N/50 times too many keys move.
//! Here a place belongs to the node that comes to it first, counted in steps; so it changes hands
//! only when its owner goes or somebody faster comes. The price is that shares differ: by 3 % or so
//! with a thousand places a node.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Primes; the smallest with a thousand places a node is taken, else the last.
const SIZES: [u32; 2] = [65_537, 655_373];
/// Places a node that make shares nearly equal.
const ENOUGH: usize = 1_000;

/// Who owns each place of a table, as an index. The large table does not fit into a core's own cache
/// with four bytes a place, and nearly all services are small enough for two.
#[derive(Debug, Clone)]
pub(crate) enum Owners {
    Narrow(Arc<[u16]>),
    Wide(Arc<[u32]>),
}

impl Owners {
    /// Who owns the place where `hash` falls.
    #[inline]
    pub(crate) fn of(&self, hash: u64) -> Option<u32> {
        match self {
            Self::Narrow(owners) => of(owners, hash),
            Self::Wide(owners) => of(owners, hash),
        }
    }
}

/// Who owns the place where `hash` falls.
#[inline(always)]
pub(crate) fn of<T: Copy + Into<u32>>(owners: &[T], hash: u64) -> Option<u32> {
    owners
        .get(place(hash, owners.len()))
        .map(|owner| (*owner).into())
}

/// Gives each of `names` its share of the table; owners are indexes into `names`.
pub(crate) fn table<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Owners {
    let count = names.len();
    let fits = |size: &u32| count * ENOUGH <= *size as usize;
    let size = SIZES.into_iter().find(fits).unwrap_or(SIZES[1]);
    let mut walks: Vec<Walk> = names
        .enumerate()
        .map(|(index, name)| Walk::new(index as u32, name, size))
        .collect();
    // Of two that come to a place with the same step, the first in this order has it: the order must
    // not depend on who else is there, nor on the order in which they were told.
    walks.sort_unstable_by_key(|walk| walk.rank);
    if count > usize::from(u16::MAX) {
        Owners::Wide(fill(walks, size, |index| index))
    } else {
        Owners::Narrow(fill(walks, size, |index| index as u16))
    }
}

fn fill<T: Copy + Default>(mut walks: Vec<Walk>, size: u32, owner: impl Fn(u32) -> T) -> Arc<[T]> {
    let mut left = if walks.is_empty() { 0 } else { size };
    let mut places = vec![T::default(); left as usize];
    // Nearly all steps lead to a place that is taken: a bit tells it, and all bits together stay in
    // the cache.
    let mut taken = vec![0_u64; left.div_ceil(64) as usize];
    while left > 0 {
        for walk in &mut walks {
            let bit = 1 << (walk.at % 64);
            if let Some(word) = taken.get_mut(walk.at as usize / 64)
                && *word & bit == 0
                && let Some(place) = places.get_mut(walk.at as usize)
            {
                *word |= bit;
                *place = owner(walk.index);
                left -= 1;
            }
            walk.step_on(size);
        }
    }
    places.into()
}

/// Where `hash` falls in a table of `size` places.
#[inline]
fn place(hash: u64, size: usize) -> usize {
    ((u128::from(hash) * size as u128) >> 64) as usize
}

struct Walk {
    index: u32,
    rank: u64,
    at: u32,
    step: u32,
}

impl Walk {
    fn new(index: u32, name: &str, size: u32) -> Self {
        let hash = |seed| xxh3_64_with_seed(name.as_bytes(), seed);
        Self {
            index,
            rank: hash(3),
            at: (hash(1) % u64::from(size)) as u32,
            step: (hash(2) % u64::from(size - 1)) as u32 + 1,
        }
    }

    fn step_on(&mut self, size: u32) {
        self.at += self.step;
        if self.at >= size {
            self.at -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Key;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("orders-{index}")).collect()
    }

    fn owner<'a>(names: &'a [String], table: &Owners, key: u32) -> &'a str {
        let hash = Key::of(key.to_le_bytes()).0;
        &names[table.of(hash).expect("owned") as usize]
    }

    #[test]
    fn more_owners_than_two_bytes_can_tell_apart_have_four() {
        let names = names(65_536);
        let names = names.iter().map(String::as_str);
        let last = |owners: &Owners| match owners {
            Owners::Narrow(owners) => owners.iter().max().map(|owner| u32::from(*owner)),
            Owners::Wide(owners) => owners.iter().max().copied(),
        };
        let wide = table(names.clone());
        assert!(matches!(wide, Owners::Wide(_)));
        assert_eq!(last(&wide), Some(65_535));
        let narrow = table(names.take(65_535).collect::<Vec<_>>().into_iter());
        assert!(matches!(narrow, Owners::Narrow(_)));
        assert_eq!(last(&narrow), Some(65_534));
    }

    #[test]
    fn everybody_has_about_the_same_share() {
        for count in [1, 2, 3, 50, 500] {
            let Owners::Narrow(table) = table(names(count).iter().map(String::as_str)) else {
                panic!("four bytes for {count} nodes");
            };
            let mut shares = vec![0.0; count];
            for owner in table.iter().map(|owner| usize::from(*owner)) {
                shares[owner] += count as f64 / table.len() as f64;
            }
            let most = shares.iter().copied().fold(0.0, f64::max);
            assert!(most < 1.15, "{count} nodes: one has {most:.2} shares");
        }
    }

    #[test]
    fn one_removal_moves_the_keys_of_the_removed_and_no_other() {
        for count in [5, 50, 500] {
            let before = names(count);
            let mut after = before.clone();
            let gone = after.remove(count / 2);
            // The order in which they are told means nothing.
            after.reverse();
            let old = table(before.iter().map(String::as_str));
            let new = table(after.iter().map(String::as_str));
            for key in 0..100_000 {
                let owned = owner(&before, &old, key);
                assert!(owned == gone || owned == owner(&after, &new, key), "{key}");
            }
        }
    }
}
