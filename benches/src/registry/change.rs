//! What a change of a large service costs the directory, alone and in a burst.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use waypost_core::{
    Directory, DirectoryOptions, Followed, Instance, InstanceKey, Lease, Members, RegisterOptions,
    Registry,
};
use waypost_memory::MemoryRegistry;
use waypost_plugin_kit::codec;

use crate::clock::{self, micros, millis};
use crate::report::{Goal, Row};
use crate::series::Series;

use super::register::hold;
use super::setting::{self, Setting};

const SPACE: &str = "change";
/// Changes of one round: an update, a departure and an arrival, each a third of them.
const CHANGES: usize = 300;
const BURST: usize = 500;
/// Longest wait for a burst to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_secs(3600);
/// In microseconds of CPU a change.
const COST_GOAL: f64 = 100.0;

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let (nodes, rounds) = (setting.nodes, setting.rounds);
    let in_memory = tokio::task::spawn_blocking(move || alone(in_memory(nodes, rounds)));
    let mut rows = in_memory.await??;
    rows.extend(on_etcd(setting).await?);
    Ok(rows)
}

/// Runs on this thread alone, whose CPU clock then counts everything.
fn alone<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// The CPU clock's microseconds that `work` takes, a change.
async fn cost(changes: usize, work: impl Future<Output = Result<()>>) -> Result<f64> {
    let before = clock::thread_cpu();
    work.await?;
    let used = clock::thread_cpu().saturating_sub(before);
    Ok(micros(used) / changes as f64)
}

async fn in_memory(nodes: usize, rounds: usize) -> Result<Vec<Row>> {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let service = setting::service()?;
    let all = setting::instances(&service, 0, nodes)?;
    let mut leases = hold(&registry, all.clone(), 1, TTL).await?;
    let directory = Directory::new(Arc::clone(&registry), DirectoryOptions::new());
    let mut followed = directory.follow(service.clone()).await?;
    ensure!(followed.members().len() == nodes, "not all are followed");

    let mut flat = Arc::new(all.iter().cloned().map(Arc::new).collect());
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let copied = cost(CHANGES, async { copy(&mut flat) }).await?;
        let change = change_in_memory(&registry, &mut leases, &all, &mut followed, round);
        let change = cost(CHANGES, change).await?;
        if round > 0 {
            floor.push(copied);
            ours.push(change);
        }
    }
    let floor = Series::new(floor);
    let row = Row::new(
        format!("one change at {nodes} nodes, memory"),
        "µs CPU",
        Series::new(ours),
    )
    .against(floor)
    .goal(Goal::Bound(COST_GOAL))
    .note("aim 70; with the registry's own write; peer: copying the list and replacing one");

    let burst = setting::instances(&service, nodes, nodes + BURST)?;
    let (before, begun) = (clock::thread_cpu(), Instant::now());
    let options = RegisterOptions::new(TTL);
    let arrived = try_join_all(burst.iter().map(|one| registry.register(one, options))).await?;
    let members = until(&mut followed, nodes + BURST).await?;
    let (took, used) = (begun.elapsed(), clock::thread_cpu().saturating_sub(before));
    let rest = registry.lookup(&service).await?;
    drop(arrived);
    Ok(vec![
        row,
        burst_row("memory", nodes, took, used, &members, &rest),
    ])
}

/// Each change is awaited before the next is made.
async fn change_in_memory(
    registry: &Arc<dyn Registry>,
    leases: &mut [Box<dyn Lease>],
    all: &[Instance],
    followed: &mut Followed,
    round: usize,
) -> Result<()> {
    let options = RegisterOptions::new(TTL);
    for number in (0..CHANGES / 3).map(|number| number * 97 % all.len()) {
        let (Some(lease), Some(instance)) = (leases.get_mut(number), all.get(number)) else {
            continue;
        };
        lease
            .update(&instance.clone().with_version(round.to_string()))
            .await?;
        followed.changed().await;
        registry.deregister(&instance.key()).await?;
        followed.changed().await;
        *lease = registry.register(instance, options).await?;
        followed.changed().await;
    }
    Ok(())
}

/// The least that publishing a flat list takes.
fn copy(list: &mut Arc<Vec<Arc<Instance>>>) -> Result<()> {
    let spare = list.first().cloned().context("the list is empty")?;
    for number in 0..CHANGES {
        let mut fresh = Vec::clone(list);
        let place = number * 97 % fresh.len();
        if let Some(place) = fresh.get_mut(place) {
            *place = Arc::clone(&spare);
        }
        *list = std::hint::black_box(Arc::new(fresh));
    }
    Ok(())
}

async fn until(followed: &mut Followed, count: usize) -> Result<Arc<Members>> {
    let wait = async {
        let mut members = followed.members();
        while members.len() != count {
            members = followed.changed().await;
        }
        members
    };
    timeout(PATIENCE, wait)
        .await
        .context("the burst never arrived whole")
}

fn burst_row(
    backend: &str,
    nodes: usize,
    took: Duration,
    used: Duration,
    members: &Members,
    truth: &[Instance],
) -> Row {
    let seen: BTreeMap<InstanceKey, &Instance> =
        members.live().map(|one| (one.key(), &**one)).collect();
    let real: BTreeMap<InstanceKey, &Instance> = truth.iter().map(|one| (one.key(), one)).collect();
    let name = format!("burst of {BURST} at {nodes} nodes, {backend}");
    Row::new(name, "ms", Series::one(millis(took)))
        .cpu(Series::one(micros(used) / BURST as f64), None)
        .goal(Goal::Fact("sets equal", seen == real))
        .note("from the first call until the directory has all")
}

/// What the thread that follows is told: to count from now until there are this many members.
type Order = usize;

/// What it tells: it counts, or it has seen them all.
enum Told {
    Counting,
    Seen {
        cpu: Duration,
        at: Instant,
        published: u64,
        members: Arc<Members>,
    },
}

/// Follows on this thread alone.
async fn follower(
    url: String,
    mut orders: mpsc::Receiver<Order>,
    told: mpsc::Sender<Told>,
) -> Result<()> {
    let directory = Directory::new(setting::connect(&url).await?, DirectoryOptions::new());
    let mut followed = directory.follow(setting::service()?).await?;
    while let Some(count) = orders.recv().await {
        let (before, version) = (clock::thread_cpu(), followed.members().version());
        told.send(Told::Counting).await?;
        let members = until(&mut followed, count).await?;
        let seen = Told::Seen {
            at: Instant::now(),
            cpu: clock::thread_cpu().saturating_sub(before),
            published: members.version() - version,
            members,
        };
        told.send(seen).await?;
    }
    Ok(())
}

async fn on_etcd(setting: &Setting) -> Result<Vec<Row>> {
    let service = setting::service()?;
    let all = setting::instances(&service, 0, setting.nodes)?;
    setting.fill(SPACE, &all).await?;
    let (order, orders) = mpsc::channel(1);
    let (telling, mut told) = mpsc::channel(1);
    let url = setting.url(SPACE);
    let follower = tokio::task::spawn_blocking(move || alone(follower(url, orders, telling)));
    let rows = changes_on_etcd(setting, &all, &order, &mut told).await;
    drop(order);
    follower.await??;
    setting.clear(SPACE).await?;
    rows
}

async fn changes_on_etcd(
    setting: &Setting,
    all: &[Instance],
    order: &mpsc::Sender<Order>,
    told: &mut mpsc::Receiver<Told>,
) -> Result<Vec<Row>> {
    let (mut costs, mut published) = (Vec::new(), 0);
    let mut client = setting.client().await?;
    let service = setting::service()?;
    for round in 0..=setting.rounds {
        // The last change of a round makes them one more than ever before.
        let extra = setting::instance(&service, setting.nodes + round)?;
        order.send(setting.nodes + round + 1).await?;
        told.recv().await.context("the follower ended")?;
        change_on_etcd(&mut client, all, round).await?;
        put(&mut client, &extra).await?;
        let seen = told.recv().await;
        if let (
            1..,
            Some(Told::Seen {
                cpu,
                published: times,
                ..
            }),
        ) = (round, seen)
        {
            costs.push(micros(cpu) / (CHANGES + 1) as f64);
            published += times;
        }
    }
    let made = (CHANGES + 1) * setting.rounds;
    let name = format!("one change at {} nodes, etcd", setting.nodes);
    let row = Row::new(name, "µs CPU", Series::new(costs))
        .goal(Goal::Bound(COST_GOAL))
        .note(format!(
            "aim 70; receiving and decoding included; {made} changes, {published} published"
        ));
    let before = setting.nodes + setting.rounds + 1;
    Ok(vec![
        row,
        burst_on_etcd(setting, before, order, told).await?,
    ])
}

async fn change_on_etcd(client: &mut Client, all: &[Instance], round: usize) -> Result<()> {
    for number in (0..CHANGES / 3).map(|number| number * 97 % all.len()) {
        let Some(instance) = all.get(number) else {
            continue;
        };
        put(client, &instance.clone().with_version(round.to_string())).await?;
        client.delete(setting::key(SPACE, instance), None).await?;
        put(client, instance).await?;
    }
    Ok(())
}

async fn put(client: &mut Client, instance: &Instance) -> Result<()> {
    let (key, value) = (setting::key(SPACE, instance), codec::encode(instance));
    client.put(key, value, None).await?;
    Ok(())
}

async fn burst_on_etcd(
    setting: &Setting,
    before: usize,
    order: &mpsc::Sender<Order>,
    told: &mut mpsc::Receiver<Told>,
) -> Result<Row> {
    let service = setting::service()?;
    let registry = setting.registry(SPACE).await?;
    let burst = setting::instances(&service, before, before + BURST)?;
    order.send(before + BURST).await?;
    told.recv().await.context("the follower ended")?;
    let begun = Instant::now();
    let held = hold(&registry, burst, 64, TTL).await?;
    let Some(Told::Seen {
        cpu, at, members, ..
    }) = told.recv().await
    else {
        anyhow::bail!("the follower did not see the burst");
    };
    let truth = registry.lookup(&service).await?;
    drop(held);
    let took = at.saturating_duration_since(begun);
    Ok(burst_row("etcd", before, took, cpu, &members, &truth))
}
