//! What cannot be undercut: the least that a pick has to do.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;
use arc_swap::{ArcSwap, Cache};
use waypost_core::Instance;
use xxhash_rust::xxh3::xxh3_64;

use crate::measure::Contender;
use crate::nodes;

pub(crate) const FLOOR: &str = "floor: arc_swap cache, xorshift, &node";
pub(crate) const AGAIN: &str = "floor, once more (A/A)";
pub(crate) const OWNED: &str = "floor: arc_swap cache, xorshift, Arc clone of the node";
pub(crate) const TABLE: &str = "floor: arc_swap cache, table as large as ours, &node";

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// A random number of this thread (xorshift).
pub(crate) fn random() -> u64 {
    RANDOM.with(|random| {
        let mut bits = random.get();
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        random.set(bits);
        bits
    })
}

/// A number below `below`, from 64 random bits.
pub(crate) fn below(bits: u64, below: usize) -> usize {
    ((u128::from(bits) * below as u128) >> 64) as usize
}

fn borrowed(name: &'static str, nodes: &[Arc<Instance>]) -> Contender {
    let swap = Arc::new(ArcSwap::from_pointee(nodes.to_vec()));
    Contender::new(name, move |picks| {
        let mut cache = Cache::new(Arc::clone(&swap));
        for _ in 0..picks {
            let nodes = cache.load();
            let node = nodes.get(below(random(), nodes.len()));
            black_box(node.map(Arc::as_ptr));
        }
    })
}

/// What makes the floor's node one's own, as ours is: two atomic writes a pick.
fn owned(nodes: &[Arc<Instance>]) -> Contender {
    let swap = Arc::new(ArcSwap::from_pointee(nodes.to_vec()));
    Contender::new(OWNED, move |picks| {
        let mut cache = Cache::new(Arc::clone(&swap));
        for _ in 0..picks {
            let nodes = cache.load();
            let node = nodes.get(below(random(), nodes.len()));
            drop(black_box(node.map(Arc::clone)));
        }
    })
}

struct Hashed {
    nodes: Vec<Arc<Instance>>,
    table: Vec<u32>,
}

fn table(nodes: &[Arc<Instance>]) -> Contender {
    // As many places as ours has for so many nodes: a thousand a node, as far as that goes.
    let places = if nodes.len() <= 65 { 65_537 } else { 655_373 };
    let swap = Arc::new(ArcSwap::from_pointee(Hashed {
        nodes: nodes.to_vec(),
        table: (0..places)
            .map(|_| below(random(), nodes.len()) as u32)
            .collect(),
    }));
    Contender::new(TABLE, move |picks| {
        let mut cache = Cache::new(Arc::clone(&swap));
        for number in 0..picks {
            let hashed = cache.load();
            let place = below(xxh3_64(&nodes::key(number)), hashed.table.len());
            let index = hashed.table.get(place);
            let node = index.and_then(|index| hashed.nodes.get(*index as usize));
            black_box(node.map(Arc::as_ptr));
        }
    })
}

/// The floors; the first stands twice, to see how far a figure can be trusted.
pub(crate) fn contenders(count: usize) -> Result<[Contender; 4]> {
    let nodes = nodes::instances(count)?;
    Ok([
        borrowed(FLOOR, &nodes),
        borrowed(AGAIN, &nodes),
        owned(&nodes),
        table(&nodes),
    ])
}
