//! volo's balancers: a picker for each call, and its first node.

use std::cell::RefCell;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::volo::context::{Endpoint, MetaInfo};
use ::volo::discovery::{Change, Instance, StaticDiscover};
use ::volo::loadbalance::consistent_hash::{ConsistentHashBalance, ConsistentHashOption};
use ::volo::loadbalance::random::WeightedRandomBalance;
use ::volo::loadbalance::{LoadBalance, RequestHash};
use ::volo::net::Address;
use anyhow::{Context as _, Result};
use metainfo::METAINFO;
use xxhash_rust::xxh3::xxh3_64;

use crate::measure::Contender;
use crate::nodes;

fn instances(count: usize) -> Vec<Arc<Instance>> {
    let one = |index| {
        Arc::new(Instance {
            address: Address::Ip(nodes::address(index)),
            weight: 1 + (index % 3) as u32,
            tags: [("zone".into(), "east".into())].into(),
        })
    };
    (0..count).map(one).collect()
}

/// A balancer that knows its nodes.
pub(crate) struct Volo<B> {
    balance: B,
    endpoint: Endpoint,
    discover: StaticDiscover,
}

impl<B: LoadBalance<StaticDiscover>> Volo<B> {
    fn new(balance: B, count: usize) -> Self {
        Self {
            balance,
            endpoint: Endpoint::new("orders".into()),
            discover: StaticDiscover::new(instances(count)),
        }
    }

    /// The first node for a call. The future is ready at once, once the nodes are known.
    pub(crate) fn pick(&self) -> Option<Address> {
        let picker = pin!(self.balance.get_picker(&self.endpoint, &self.discover));
        match picker.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(mut picker)) => picker.next(),
            _ => None,
        }
    }

    /// As volo is told of a change: with all nodes.
    pub(crate) fn replace(&self, all: Vec<Arc<Instance>>)
    where
        StaticDiscover: ::volo::discovery::Discover<Key = ()>,
    {
        self.balance.rebalance(Change {
            key: (),
            all,
            added: Vec::new(),
            updated: Vec::new(),
            removed: Vec::new(),
        });
    }
}

pub(crate) type Weighted = Volo<WeightedRandomBalance<()>>;
pub(crate) type Hashed = Volo<ConsistentHashBalance<()>>;

pub(crate) fn weighted_balance(count: usize) -> Weighted {
    Volo::new(WeightedRandomBalance::new(), count)
}

pub(crate) fn hashed_balance(count: usize) -> Hashed {
    // A hundred places a node, whatever its weight.
    let option = ConsistentHashOption::new(1, 100, false);
    Volo::new(ConsistentHashBalance::new(option), count)
}

/// Picks by a hash of the call, as the request's context carries it.
pub(crate) fn with_hashes<T>(
    volo: &Hashed,
    hashes: impl Iterator<Item = u64>,
    mut see: impl FnMut(Option<Address>) -> T,
) {
    METAINFO.sync_scope(RefCell::new(MetaInfo::new()), || {
        for hash in hashes {
            METAINFO.with(|context| context.borrow_mut().insert(RequestHash(hash)));
            see(volo.pick());
        }
    });
}

pub(super) fn weighted(count: usize) -> Result<Contender> {
    let volo = weighted_balance(count);
    volo.pick().context("volo knows no node")?;
    Ok(Contender::new(super::VOLO_WEIGHTED, move |picks| {
        for _ in 0..picks {
            black_box(volo.pick());
        }
    }))
}

pub(super) fn hashed(count: usize) -> Result<Contender> {
    let volo = hashed_balance(count);
    Ok(Contender::new(
        "volo ConsistentHash, 100 places a node",
        move |picks| {
            let hashes = (0..picks).map(|number| xxh3_64(&nodes::key(number)));
            with_hashes(&volo, hashes, black_box);
        },
    ))
}

/// The nodes, one of them with another weight.
pub(crate) fn changed(count: usize, round: usize) -> Vec<Arc<Instance>> {
    let mut all = instances(count);
    if let Some(one) = all.get_mut(count / 2) {
        let mut other = Instance::clone(one);
        other.weight = 5 + (round % 2) as u32;
        *one = Arc::new(other);
    }
    all
}
