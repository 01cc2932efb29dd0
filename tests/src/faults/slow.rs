//! A watch that nobody looks at while the service changes and changes.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep};
use waypost_core::{Address, Instance, Lease, Node, NodeId, RegisterOptions, ServiceName};

use crate::agent::{Watch, Watching};
use crate::backend::Backend;
use crate::bounds::{Bound, EPSILON};
use crate::house::{House, Shape, connect};
use crate::{Result, ensure};

use super::{Fault, memory, patience};

/// Nodes that change.
const NODES: usize = 20;
/// Bytes of each record, at least: what is kept of three thousand changes would show.
const BYTES: usize = 8_000;
/// Bytes of one value of the metadata, at most.
const VALUE: usize = 4_000;
/// How often one change is tried.
const TRIES: usize = 5;
/// How long the watch is not looked at, at least.
const SLEEP: Duration = Duration::from_secs(10);
/// Most events that may wait for whoever slept: what is in the queue, and one for all the rest.
const MOST: usize = 1_000;
/// How soon after it wakes the watch has to agree with a fresh list.
const CONVERGES: Duration = Duration::from_secs(5);
/// Ttl of the records: nobody renews them here.
const TTL: Duration = Duration::from_secs(120);
const SERVICE: &str = "restless";

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    vec![Fault {
        name: "F37_slow_reader",
        law: "a watch that nobody looks at costs bounded memory, and ends in the right state",
        bound: Bound {
            formula: "16 MB",
            limit: 16.0,
            unit: "MB",
        },
        shape: Shape::PLAIN,
        run: |house| Box::pin(slow(house)),
    }]
}

async fn slow<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let namespace = format!("{}-restless", house.namespace);
    let url = house.backend.url(house.backend.address(), &namespace);
    let registry = connect(&url).await?;
    let options = RegisterOptions::new(TTL);
    let nodes = stream::iter(0..NODES).map(|place| {
        let registry = &registry;
        async move { registry.register(&instance(place, 0)?, options).await }
    });
    let mut leases: Vec<_> = nodes.buffered(NODES).try_collect().await?;
    let order = Watch {
        registry: url,
        service: SERVICE.to_owned(),
    };
    let mut watching = Watching::start(house.binary(), &order)?;
    let first = watching.seen(patience(EPSILON)).await?;
    ensure(first.versions.len() == NODES, || format!("{first:?}"))?;

    let pid = watching.pid()?;
    let before = memory(pid, "VmRSS:")?;
    let begun = Instant::now();
    let rounds = changes::<B>() / NODES;
    let changing = leases.iter_mut().enumerate();
    let changing = changing.map(|(place, lease)| change(place, lease.as_mut(), rounds));
    futures_util::future::try_join_all(changing).await?;
    let spent = begun.elapsed();
    house
        .history
        .note("by hand", format!("{rounds} changes a node in {spent:?}"));
    sleep(SLEEP.saturating_sub(spent)).await;
    watching.go_on().await?;
    let woken = Instant::now();
    let last = rounds.to_string();
    let seen = loop {
        let seen = watching.seen(CONVERGES).await?;
        if seen.versions.len() == NODES && seen.versions.values().all(|one| *one == last) {
            break seen;
        }
        ensure(woken.elapsed() < CONVERGES, || {
            format!("not right {CONVERGES:?} after it woke: {seen:?}")
        })?;
    };
    let grown = memory(pid, "VmHWM:")?.saturating_sub(before) as f64 / 1000.0;
    house
        .history
        .note("watch", format!("{} events for all of it", seen.events));
    ensure(seen.events <= MOST.min(rounds * NODES / 2), || {
        format!("{} events waited for it", seen.events)
    })?;
    let listed = registry.lookup(&ServiceName::new(SERVICE)?).await?;
    let same = listed.iter().filter(|one| one.version == last).count();
    ensure(same == NODES, || {
        format!("a fresh lookup has {same} of them")
    })?;
    for lease in leases {
        lease.revoke().await?;
    }
    Ok(grown)
}

/// How many changes: with everything asked for, ten thousand.
fn changes<B: Backend>() -> usize {
    match std::env::var_os("WAYPOST_FULL") {
        Some(_) => B::WRITES_A_SECOND * 5,
        None => B::WRITES_A_SECOND * 3 / 2,
    }
}

async fn change(place: usize, lease: &mut dyn Lease, rounds: usize) -> Result<()> {
    for version in 1..=rounds {
        let changed = instance(place, version)?;
        let mut tries = 1;
        // A busy machine may let a connection go; what was not written then is written again.
        while let Err(error) = lease.update(&changed).await {
            let again = error.is_transient() && tries < TRIES;
            ensure(again, || error.chain())?;
            tries += 1;
        }
    }
    Ok(())
}

fn instance(place: usize, version: usize) -> waypost_core::Result<Instance> {
    let id = NodeId::new(&format!("r{place:02}"))?;
    let address = Address::new(&format!("127.0.0.1:{}", 23_000 + place))?;
    let mut node = Node::new(id, address);
    for pair in 0..BYTES.div_ceil(VALUE) {
        node = node.with_metadata(format!("filler-{pair}"), "x".repeat(VALUE));
    }
    let instance = Instance::new(ServiceName::new(SERVICE)?, node);
    Ok(instance.with_version(version.to_string()))
}
