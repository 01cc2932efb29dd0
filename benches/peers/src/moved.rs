//! How many keys go to another node when one of the nodes leaves.

use anyhow::Result;
use pingora_load_balancing::selection::Consistent;
use waypost_selector::{Key, Options, Strategy};
use xxhash_rust::xxh3::xxh3_64;

use crate::nodes;
use crate::ours;
use crate::peers::pingora::Pingora;
use crate::peers::volo;

const KEYS: usize = 100_000;

/// The part of the keys that moved when one of `nodes` left.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pub(crate) part: f64,
}

pub(crate) const OURS: &str = "ours: consistent_hash";

fn part<T: PartialEq>(before: &[T], after: &[T]) -> f64 {
    let moved = before.iter().zip(after).filter(|(old, new)| old != new);
    moved.count() as f64 / before.len() as f64
}

fn ours(count: usize) -> Result<f64> {
    let balancer = ours::balancer(Strategy::ConsistentHash, count)?;
    let owners = || -> Vec<Option<String>> {
        let of = |number| {
            let options = Options::new().with_key(Key::of(nodes::key(number)));
            let pick = balancer.pick(&options).ok()?;
            Some(pick.node().id().to_string())
        };
        (0..KEYS).map(of).collect()
    };
    let before = owners();
    balancer.publish_nodes(nodes::instances(count - 1)?, []);
    Ok(part(&before, &owners()))
}

fn volos(count: usize) -> f64 {
    let owners = |count| {
        let volo = volo::hashed_balance(count);
        let mut owners = Vec::new();
        let hashes = (0..KEYS).map(|number| xxh3_64(&nodes::key(number)));
        volo::with_hashes(&volo, hashes, |owner| owners.push(owner));
        owners
    };
    part(&owners(count), &owners(count - 1))
}

fn pingoras(count: usize) -> Result<f64> {
    let owners = |count| -> Result<Vec<_>> {
        let pingora = Pingora::<Consistent>::new(count)?;
        let of = |number| pingora.pick(&nodes::key(number));
        Ok((0..KEYS).map(of).collect())
    };
    Ok(part(&owners(count)?, &owners(count - 1)?))
}

/// Everybody over `count` nodes, of which one leaves.
pub(crate) fn run(count: usize) -> Result<[Moved; 3]> {
    let moved = |name, part| Moved {
        name,
        nodes: count,
        part,
    };
    Ok([
        moved(OURS, ours(count)?),
        moved("volo ConsistentHash", volos(count)),
        moved("pingora Consistent", pingoras(count)?),
    ])
}
