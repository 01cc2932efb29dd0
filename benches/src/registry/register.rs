//! Registering many instances, against raw pairs of grant and put of the same values.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use etcd_client::{Client, PutOptions};
use tokio::task::JoinSet;
use waypost_core::{Instance, Lease, RegisterOptions, Registry, ServiceName};
use waypost_plugin_kit::codec;

use crate::alternate::alternate;
use crate::report::{Goal, Row};

use super::setting::{self, Setting};

/// Long enough that nothing expires meanwhile.
const TTL: Duration = Duration::from_secs(3600);
/// How many are under way at once.
const AT_ONCE: [usize; 2] = [64, 256];

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for at_once in AT_ONCE {
        rows.push(at(setting, at_once).await?);
    }
    Ok(rows)
}

async fn at(setting: &Setting, at_once: usize) -> Result<Row> {
    let (theirs, mine) = (format!("raw-{at_once}"), format!("register-{at_once}"));
    let client = setting.client().await?;
    let registry = setting.registry(&mine).await?;
    let mut held = Vec::new();
    let (mut raw_round, mut our_round) = (0, 0);
    let peer = async || {
        let records = records(&theirs, raw_round, setting.nodes)?;
        raw_round += 1;
        raw(&client, records, at_once).await
    };
    let ours = async || {
        let instances = round(our_round, setting.nodes)?;
        our_round += 1;
        held.extend(hold(&registry, instances, at_once, TTL).await?);
        Ok(())
    };
    let (peer, ours) = alternate(setting.rounds, setting.nodes, peer, ours).await?;
    drop(held);
    setting.clear(&theirs).await?;
    setting.clear(&mine).await?;
    let name = format!("register {}, {at_once} at once", setting.nodes);
    Ok(Row::new(name, "1/s", ours.rate)
        .against(peer.rate)
        .cpu(ours.cpu, Some(peer.cpu))
        .goal(Goal::Least(0.85))
        .note("peer: grant and put with the lease, same values"))
}

/// Each round registers a service of its own, so that no record is there before.
fn round(number: usize, nodes: usize) -> Result<Vec<Instance>> {
    let service = ServiceName::new(&format!("orders-{number}"))?;
    setting::instances(&service, 0, nodes)
}

fn records(space: &str, number: usize, nodes: usize) -> Result<Vec<(String, Vec<u8>)>> {
    let record = |one: &Instance| (setting::key(space, one), codec::encode(one));
    Ok(round(number, nodes)?.iter().map(record).collect())
}

/// Registers `instances`, `at_once` at the same time.
pub(crate) async fn hold(
    registry: &Arc<dyn Registry>,
    instances: Vec<Instance>,
    at_once: usize,
    ttl: Duration,
) -> Result<Vec<Box<dyn Lease>>> {
    let (instances, next) = (Arc::new(instances), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (registry, instances, next) = (
            Arc::clone(registry),
            Arc::clone(&instances),
            Arc::clone(&next),
        );
        workers.spawn(async move {
            let mut held = Vec::new();
            while let Some(instance) = instances.get(next.fetch_add(1, Ordering::Relaxed)) {
                held.push(persist(&registry, instance, ttl).await?);
            }
            anyhow::Ok(held)
        });
    }
    let mut held = Vec::with_capacity(instances.len());
    while let Some(worker) = workers.join_next().await {
        held.extend(worker??);
    }
    Ok(held)
}

/// Registers as a service does, which tries again when a busy server is late.
async fn persist(
    registry: &Arc<dyn Registry>,
    instance: &Instance,
    ttl: Duration,
) -> Result<Box<dyn Lease>> {
    loop {
        match registry.register(instance, RegisterOptions::new(ttl)).await {
            Ok(lease) => return Ok(lease),
            Err(error) if error.is_transient() => eprintln!("again: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn raw(client: &Client, records: Vec<(String, Vec<u8>)>, at_once: usize) -> Result<()> {
    let (records, next) = (Arc::new(records), Arc::new(AtomicUsize::new(0)));
    let ttl = i64::try_from(TTL.as_secs())?;
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (mut client, records, next) = (client.clone(), Arc::clone(&records), Arc::clone(&next));
        workers.spawn(async move {
            while let Some((key, value)) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                let lease = client.lease_grant(ttl, None).await?.id();
                let options = PutOptions::new().with_lease(lease);
                client
                    .put(key.as_str(), value.as_slice(), Some(options))
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    Ok(())
}
