//! What one changed node costs until it can be picked.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;
use arc_swap::ArcSwap;
use pingora_load_balancing::selection::{Consistent, RoundRobin};
use waypost_selector::{Options, Strategy};

use crate::nodes;
use crate::ours;
use crate::peers::pingora::{self, Pingora};
use crate::peers::volo;
use waypost_figures::{Series, thread_cpu};

/// How one picker took a change, in microseconds of CPU.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pub(crate) cpu: Series,
}

pub(crate) const VOLO_HASH: &str = "volo ConsistentHash";
pub(crate) const HASH: &str = "ours: consistent_hash";

/// A step to prepare a change, and one to take it over and pick.
type Side = (&'static str, Box<dyn FnMut(usize) -> Box<dyn FnOnce()>>);

fn floor(count: usize) -> Result<Side> {
    let shown = Arc::new(ArcSwap::from_pointee(nodes::instances(count)?));
    let other = nodes::instance(count)?;
    Ok((
        "floor: copy the list, replace one",
        Box::new(move |_| {
            let (shown, other) = (Arc::clone(&shown), Arc::clone(&other));
            Box::new(move || {
                let mut copied = shown.load().as_ref().clone();
                if let Some(one) = copied.get_mut(count / 2) {
                    *one = other;
                }
                shown.store(Arc::new(copied));
            })
        }),
    ))
}

fn ours(name: &'static str, strategy: Strategy, count: usize) -> Result<Side> {
    let balancer = ours::balancer(strategy, count)?;
    let all = nodes::instances(count)?;
    let others = [nodes::instance(count)?, nodes::instance(count + 1)?];
    Ok((
        name,
        Box::new(move |round| {
            let mut changed = all.clone();
            if let (Some(one), Some(other)) = (changed.get_mut(count / 2), others.get(round % 2)) {
                *one = Arc::clone(other);
            }
            let balancer = balancer.clone();
            Box::new(move || {
                balancer.publish_nodes(changed, []);
                drop(black_box(balancer.pick(&Options::new())));
            })
        }),
    ))
}

fn volo_weighted(count: usize) -> Side {
    let volo = Arc::new(volo::weighted_balance(count));
    volo.pick();
    (
        "volo WeightedRandom",
        Box::new(move |round| {
            let (volo, all) = (Arc::clone(&volo), volo::changed(count, round));
            Box::new(move || {
                volo.replace(all);
                black_box(volo.pick());
            })
        }),
    )
}

fn volo_hashed(count: usize) -> Side {
    let volo = Arc::new(volo::hashed_balance(count));
    volo::with_hashes(&volo, std::iter::once(1), black_box);
    (
        VOLO_HASH,
        Box::new(move |round| {
            let (volo, all) = (Arc::clone(&volo), volo::changed(count, round));
            Box::new(move || {
                volo.replace(all);
                volo::with_hashes(&volo, std::iter::once(1), black_box);
            })
        }),
    )
}

macro_rules! pingora {
    ($name:literal, $selection:ty, $count:expr) => {{
        let count = $count;
        let pingora = Arc::new(Pingora::<$selection>::new(count)?);
        let all: Vec<_> = (0..count + 2)
            .map(pingora::backend)
            .collect::<Result<_>>()?;
        let side: Side = (
            $name,
            Box::new(move |round| {
                let other = all.get(count + round % 2).cloned();
                let kept = all.iter().take(count).skip(1).cloned();
                pingora.told.put(kept.chain(other).collect());
                let pingora = Arc::clone(&pingora);
                Box::new(move || {
                    pingora.update();
                    black_box(pingora.pick(b"key"));
                })
            }),
        );
        side
    }};
}

/// Everybody in turns.
pub(crate) fn run(count: usize, rounds: usize) -> Result<Vec<Rebuilt>> {
    let mut sides = vec![
        floor(count)?,
        ours("ours: p2c_ewma", Strategy::P2cEwma, count)?,
        ours("ours: weighted", Strategy::Weighted, count)?,
        volo_weighted(count),
        pingora!("pingora RoundRobin", RoundRobin, count),
        ours(HASH, Strategy::ConsistentHash, count)?,
        volo_hashed(count),
        pingora!("pingora Consistent", Consistent, count),
    ];
    let mut taken: Vec<Vec<f64>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for ((_, prepare), taken) in sides.iter_mut().zip(&mut taken) {
            let change = prepare(round);
            let begun = thread_cpu();
            change();
            let took = thread_cpu().saturating_sub(begun);
            // The first time warms up.
            if round > 0 {
                taken.push(took.as_secs_f64() * 1e6);
            }
        }
    }
    let named = sides.iter().zip(taken);
    Ok(named
        .map(|((name, _), cpu)| Rebuilt {
            name,
            nodes: count,
            cpu: Series::new(cpu),
        })
        .collect())
}
