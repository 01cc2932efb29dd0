//! Our own picks, each owned, `Send` and `'static`.

use std::hint::black_box;

use anyhow::Result;
use waypost_core::ServiceName;
use waypost_selector::{Balancer, Key, Options, Outcome, Pick, Rules, Strategy};

use crate::measure::Contender;
use crate::nodes;

pub(crate) const RANDOM: &str = "ours: random";
pub(crate) const ROUND_ROBIN: &str = "ours: round_robin";
pub(crate) const WEIGHTED: &str = "ours: weighted";
pub(crate) const HASH: &str = "ours: consistent_hash by key";
pub(crate) const LEAST_CONN: &str = "ours: least_conn + success";
pub(crate) const P2C_EWMA: &str = "ours: p2c_ewma + success";

/// Those that count nothing.
pub(crate) const STATIC: [&str; 3] = [RANDOM, ROUND_ROBIN, WEIGHTED];
/// Those that are told what became of the call.
pub(crate) const TOLD: [&str; 2] = [LEAST_CONN, P2C_EWMA];

/// A balancer over `count` nodes.
pub(crate) fn balancer(strategy: Strategy, count: usize) -> Result<Balancer> {
    let rules = Rules::new().with_strategy(strategy);
    let balancer = Balancer::new(ServiceName::new("orders")?, rules)?;
    balancer.publish_nodes(nodes::instances(count)?, []);
    Ok(balancer)
}

fn owned<T: Send + 'static>(pick: T) -> T {
    pick
}

fn see(pick: &Pick) {
    black_box(std::ptr::from_ref(pick.node()));
}

fn dropped(name: &'static str, strategy: Strategy, count: usize) -> Result<Contender> {
    let balancer = balancer(strategy, count)?;
    Ok(Contender::new(name, move |picks| {
        let options = Options::new();
        for _ in 0..picks {
            if let Ok(pick) = balancer.pick(&options) {
                see(&owned(pick));
            }
        }
    }))
}

fn told(name: &'static str, strategy: Strategy, count: usize) -> Result<Contender> {
    let balancer = balancer(strategy, count)?;
    Ok(Contender::new(name, move |picks| {
        let options = Options::new();
        for _ in 0..picks {
            if let Ok(pick) = balancer.pick(&options) {
                see(&pick);
                owned(pick).mark(Outcome::SUCCESS);
            }
        }
    }))
}

fn hashed(count: usize) -> Result<Contender> {
    let balancer = balancer(Strategy::ConsistentHash, count)?;
    Ok(Contender::new(HASH, move |picks| {
        for number in 0..picks {
            let options = Options::new().with_key(Key::of(nodes::key(number)));
            if let Ok(pick) = balancer.pick(&options) {
                see(&owned(pick));
            }
        }
    }))
}

/// Every strategy.
pub(crate) fn contenders(count: usize) -> Result<[Contender; 6]> {
    Ok([
        dropped(RANDOM, Strategy::Random, count)?,
        dropped(ROUND_ROBIN, Strategy::RoundRobin, count)?,
        dropped(WEIGHTED, Strategy::Weighted, count)?,
        hashed(count)?,
        told(LEAST_CONN, Strategy::LeastConn, count)?,
        told(P2C_EWMA, Strategy::P2cEwma, count)?,
    ])
}
