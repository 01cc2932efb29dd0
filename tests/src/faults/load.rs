//! Many writes: a crowd that loses all its records at once, and one record that changes fast.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use waypost_core::{
    Address, Instance, Node, NodeId, Registration, RegistrationOptions, Registry, ServiceName,
};

use crate::backend::Backend;
use crate::bounds::{B as CAP, Bound, EPSILON, T, bound, refresh};
use crate::history::History;
use crate::house::{House, SERVICE, Shape, connect, has};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// Ttl of the crowd's records.
const CROWD_TTL: Duration = Duration::from_secs(30);
/// Nodes of one service of the crowd.
const NODES: usize = 10;
/// How long writes are counted over; …
const WINDOW: Duration = Duration::from_secs(1);
/// … and those of a crowd of less than so many: chance alone brings more of them in some second.
const SMALL: usize = 500;
const SMALL_WINDOW: Duration = Duration::from_secs(3);
/// The time between two counts.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for a crowd to be there.
const GATHERS: Duration = Duration::from_secs(60);
/// Changes of the record that changes fast, and the time between two.
const CHANGES: u32 = 500;
const CHANGE_EVERY: Duration = Duration::from_millis(10);
const STORM: &str = "storm";

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    vec![
        Fault {
            name: "F35_crowd_loses_everything",
            law: "when a server lost the records of a crowd, all return, and not as one blow",
            bound: Bound {
                formula: "3 N / R",
                limit: 3.0 * crowd::<B>() as f64 / refresh(CROWD_TTL).as_secs_f64(),
                unit: "1/s",
            },
            shape: Shape::PLAIN,
            run: |house| Box::pin(herd(house)),
        },
        Fault {
            name: "F38_a_hundred_updates_a_second",
            law: "of updates that come faster than they can be written the last one wins",
            bound: bound!(EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(storm(house)),
        },
    ]
}

/// How many nodes: with everything asked for, the thousand services of ten nodes. Of fewer than a
/// hundred, chance alone would bring too many at once now and then.
fn crowd<B: Backend>() -> usize {
    let count = match std::env::var_os("WAYPOST_FULL") {
        Some(_) => B::WRITES_A_SECOND * 5,
        None => (B::WRITES_A_SECOND / 4).max(100),
    };
    count.next_multiple_of(NODES)
}

async fn herd<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let count = crowd::<B>();
    let namespace = format!("{}-crowd", house.namespace);
    let url = house.backend.url(house.backend.address(), &namespace);
    let registry = connect(&url).await?;
    let options = RegistrationOptions::new().with_ttl(CROWD_TTL);
    let start = |place| {
        let registry = Arc::clone(&registry);
        Registration::start(registry, member(place)?, options.clone())
    };
    let crowd: Vec<Registration> = (0..count).map(start).collect::<Result<_, _>>()?;
    all_live(&crowd, GATHERS).await?;
    house.history.note("crowd", format!("of {count} is there"));

    house.backend.wipe().await?;
    house.history.note("server", "serves again, empty");
    let begun = Instant::now();
    let bound = refresh(CROWD_TTL) + CAP + EPSILON;
    let (peak, back) = tokio::join!(
        peak(&house.backend, window(count), bound),
        all_back(&registry, &crowd, &house.history, patience(bound))
    );
    let (peak, back) = (peak?, back?);
    let what = format!("is back after {back:?}, at most {peak} writes/s");
    house.history.note("crowd", what);
    ensure(back <= bound, || {
        format!("all were back after {back:?}, over {bound:?}")
    })?;
    house
        .healed(patience(bound).saturating_sub(begun.elapsed()))
        .await?;
    let releases = crowd.into_iter().map(Registration::release);
    let released = stream::iter(releases).buffer_unordered(64);
    // What a busy server does not take away in time goes with its ttl, and nobody looks there.
    let late = released.filter(|result| std::future::ready(result.is_err()));
    house
        .history
        .note("crowd", format!("{} were not released", late.count().await));
    Ok(peak)
}

fn window(count: usize) -> Duration {
    if count < SMALL { SMALL_WINDOW } else { WINDOW }
}

/// The most writes a second, over a window.
async fn peak<B: Backend>(backend: &B, window: Duration, during: Duration) -> Result<f64> {
    let begun = Instant::now();
    let mut counts: Vec<(Instant, u64)> = Vec::new();
    let mut peak = 0.0_f64;
    while begun.elapsed() < during {
        let (now, count) = (Instant::now(), backend.writes().await?);
        // A window that is shorter at the beginning, or because this process stood still, counts
        // for what it is.
        let before = counts.iter().rev().find(|(at, _)| now - *at >= window);
        if let Some((at, before)) = before {
            let spent = (now - *at).as_secs_f64();
            peak = peak.max(count.saturating_sub(*before) as f64 / spent);
        }
        counts.push((now, count));
        sleep(COUNT_EVERY).await;
    }
    Ok(peak)
}

/// Waits until every member has its record again, as a fresh list tells.
async fn all_back(
    registry: &Arc<dyn Registry>,
    crowd: &[Registration],
    history: &History,
    limit: Duration,
) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let found = listed(registry, crowd.len()).await.unwrap_or_default();
        history.note("crowd", format!("{found} are there"));
        if found == crowd.len() {
            break;
        }
        ensure(begun.elapsed() < limit, || {
            format!("{found} of {} are back after {limit:?}", crowd.len())
        })?;
        sleep(Duration::from_millis(250)).await;
    }
    let took = begun.elapsed();
    all_live(crowd, limit).await?;
    Ok(took)
}

async fn listed(registry: &Arc<dyn Registry>, count: usize) -> Result<usize> {
    let services = (0..count).step_by(NODES).map(service_of);
    let services = services.collect::<Result<Vec<_>, _>>()?;
    let lookups = stream::iter(services).map(|service| {
        let registry = Arc::clone(registry);
        async move { registry.lookup(&service).await }
    });
    let sizes: Vec<_> = lookups.buffer_unordered(16).try_collect().await?;
    Ok(sizes.iter().map(Vec::len).sum())
}

async fn all_live(crowd: &[Registration], limit: Duration) -> Result<()> {
    let all = async {
        for registration in crowd {
            registration.live().await?;
        }
        Ok(())
    };
    let live = timeout(limit, all).await;
    live.map_err(|_| format!("not all are live after {limit:?}"))?
}

fn service_of(place: usize) -> waypost_core::Result<ServiceName> {
    ServiceName::new(&format!("crowd-{:04}", place / NODES))
}

fn member(place: usize) -> waypost_core::Result<Instance> {
    let id = NodeId::new(&format!("m{place:05}"))?;
    let address = Address::new(&format!("10.0.{}.{}:8080", place / 250, place % 250 + 1))?;
    Ok(Instance::new(service_of(place)?, Node::new(id, address)))
}

async fn storm<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let registry = house.client().await?;
    let options = RegistrationOptions::new().with_ttl(T);
    let registration = Registration::start(registry, changed(0)?, options)?;
    timeout(patience(EPSILON), registration.live()).await??;
    let begun = Instant::now();
    for change in 1..=CHANGES {
        sleep_until(begun + CHANGE_EVERY * change).await;
        // Whoever changes it does not wait; the wish stays.
        if let Some(refused) = registration.update(changed(change)?).now_or_never() {
            refused?;
        }
    }
    let is_last = |set: &crate::observe::Set| {
        let found = set.values().find(|one| one.node.id.as_str() == STORM);
        found.is_some_and(|one| one.version == CHANGES.to_string())
    };
    let took = house
        .all_see("the last change", patience(EPSILON), is_last)
        .await?;
    for watched in &house.watched {
        let writes = watched.writes(STORM);
        house
            .history
            .note(watched.name(), format!("saw {writes} writes"));
        // The registration itself was one.
        ensure((2..=CHANGES as usize + 1).contains(&writes), || {
            format!("{writes} writes were seen of {CHANGES} changes")
        })?;
    }
    registration.release().await?;
    let gone = |set: &crate::observe::Set| !has(set, STORM);
    house.all_see("six nodes", patience(EPSILON), gone).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

fn changed(change: u32) -> waypost_core::Result<Instance> {
    let node = Node::new(NodeId::new(STORM)?, Address::new("127.0.0.1:24000")?);
    let node = node.with_metadata("change", change.to_string());
    let instance = Instance::new(ServiceName::new(SERVICE)?, node);
    Ok(instance.with_version(change.to_string()))
}
