//! Renewing many leases of one process, against one raw keep-alive stream on the same leases.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, GetOptions, KeyValue, LeaseKeepAliveStream, LeaseKeeper};
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use waypost_core::Lease;

use crate::alternate::alternate;
use crate::report::{Goal, Row};

use super::register::hold;
use super::setting::{self, Setting};

const SPACE: &str = "renew";
const TTL: Duration = Duration::from_secs(3600);
/// All leases are renewed this often in one turn, which makes it half a second long.
const SWEEPS: usize = 10;
/// Leases that one task renews: in a service each has a task of its own.
const PER_TASK: usize = 100;

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let registry = setting.registry(SPACE).await?;
    let instances = setting::instances(&setting::service()?, 0, setting.nodes)?;
    let mut leases = hold(&registry, instances, 256, TTL).await?;
    let mut client = setting.client().await?;
    let ids: Arc<[i64]> = lease_ids(&mut client).await?.into();
    ensure!(
        ids.len() == setting.nodes,
        "{} leases were found",
        ids.len()
    );
    let first = ids.first().copied().context("there is no lease")?;
    let (keeper, mut answers) = client.lease_keep_alive(first).await?;

    let peer = async || {
        for _ in 0..SWEEPS {
            sweep_raw(&keeper, &mut answers, &ids).await?;
        }
        Ok(())
    };
    let ours = async || {
        for _ in 0..SWEEPS {
            leases = sweep(std::mem::take(&mut leases)).await?;
        }
        Ok(())
    };
    let (peer, ours) = alternate(setting.rounds, setting.nodes * SWEEPS, peer, ours).await?;
    drop(leases);
    setting.clear(SPACE).await?;
    Ok(vec![
        Row::new(format!("renew {} leases", setting.nodes), "1/s", ours.rate)
            .against(peer.rate)
            .cpu(ours.cpu, Some(peer.cpu))
            .goal(Goal::Least(0.8))
            .note("peer: one pipelined keep-alive stream on the same leases"),
    ])
}

/// The leases of all records, as the server tells them.
async fn lease_ids(client: &mut Client) -> Result<Vec<i64>> {
    let options = GetOptions::new().with_prefix().with_keys_only();
    let found = client
        .get(format!("{}/", setting::prefix(SPACE)), Some(options))
        .await?;
    Ok(found.kvs().iter().map(KeyValue::lease).collect())
}

/// Renews all leases at once, from a few tasks.
async fn sweep(leases: Vec<Box<dyn Lease>>) -> Result<Vec<Box<dyn Lease>>> {
    let mut tasks = JoinSet::new();
    let mut rest = leases.into_iter();
    loop {
        let mut some: Vec<Box<dyn Lease>> = rest.by_ref().take(PER_TASK).collect();
        if some.is_empty() {
            break;
        }
        tasks.spawn(async move {
            try_join_all(some.iter_mut().map(|lease| lease.renew())).await?;
            anyhow::Ok(some)
        });
    }
    let mut renewed = Vec::with_capacity(rest.len());
    while let Some(task) = tasks.join_next().await {
        renewed.extend(task??);
    }
    Ok(renewed)
}

async fn sweep_raw(
    keeper: &LeaseKeeper,
    answers: &mut LeaseKeepAliveStream,
    ids: &Arc<[i64]>,
) -> Result<()> {
    let (sender, asked) = (keeper.sender.clone(), Arc::clone(ids));
    let asking = tokio::spawn(async move {
        let mut keeper = LeaseKeeper { id: 0, sender };
        for id in asked.iter() {
            keeper.id = *id;
            keeper.keep_alive().await?;
        }
        anyhow::Ok(())
    });
    for _ in ids.iter() {
        let answer = answers.message().await?.context("the stream ended")?;
        ensure!(answer.ttl() > 0, "lease {} is gone", answer.id());
    }
    asking.await?
}
