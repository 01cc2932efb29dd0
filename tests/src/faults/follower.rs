//! Very many leases, all of them renewed through a follower, which forwards each to the leader.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};
use waypost::{Drivers, Origin, Target};
use waypost_core::{
    Address, Instance, Node, NodeId, Registration, RegistrationOptions, ServiceName,
};

use crate::backend::{Backend as _, Clustered, EtcdCluster};
use crate::history::History;
use crate::house::connect;
use crate::observe::Watched;
use crate::{Result, ensure};

/// How many records are kept, each by a lease of its own.
const RECORDS: usize = 10_000;
/// How many are registered at a time.
const AT_ONCE: usize = 500;
/// Their ttl.
const TTL: Duration = Duration::from_secs(30);
/// Longest wait until all are there; an idle machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(300);
/// The time between two looks at all of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps ten thousand records for three ttls at a follower of etcd; none may be missed or lost.
///
/// # Errors
/// What was lost.
pub async fn follower_keeps_ten_thousand_leases() -> Result<()> {
    let etcd = Clustered::<EtcdCluster>::open(&[], false).await?;
    let leader = etcd.cluster().leader().await?;
    let follower = (leader + 1) % 3;
    let service = ServiceName::new("crowd")?;
    let observer = connect(&etcd.url_of(&[leader], "/t/crowd")).await?;
    let watched = Watched::start(
        "watch",
        observer.clone(),
        service.clone(),
        History::default(),
    );

    // With the limits that everybody has, not with the short ones of a house.
    let target = Target::parse(&etcd.url_of(&[follower], "/t/crowd"), None, Origin::Code)?;
    let registry = Drivers::builtin().connect(&target).await?;
    let begun = Instant::now();
    let mut registrations = Vec::with_capacity(RECORDS);
    while registrations.len() < RECORDS {
        let all = registrations.len() + AT_ONCE;
        for place in registrations.len()..all {
            let options = RegistrationOptions::new().with_ttl(TTL);
            let (registry, instance) = (Arc::clone(&registry), instance(&service, place)?);
            registrations.push(Registration::start(registry, instance, options)?);
        }
        all_live(&registrations, LIMIT.saturating_sub(begun.elapsed())).await?;
    }
    let registered = begun.elapsed();

    let before = (process_time(), renewals(&etcd, leader).await?);
    let mut fewest = RECORDS;
    let begun = Instant::now();
    while begun.elapsed() < 3 * TTL {
        sleep(LOOK_EVERY).await;
        fewest = fewest.min(alive(&registrations));
    }
    let spent = begun.elapsed().as_secs_f64();
    let processor = (process_time() - before.0).as_secs_f64() / spent;
    let rate = (renewals(&etcd, leader).await? - before.1) / spent;
    line(&format!(
        "{RECORDS} leases at a ttl of {TTL:?} on an etcd follower for {spent:.0} s: registered in \
         {registered:.1?}, {rate:.0} renewals/s, {:.1} % of a processor, {fewest} live at the \
         fewest, {} removed",
        100.0 * processor,
        watched.removed(),
    ));
    ensure(watched.removed() == 0, || {
        format!("{} were removed", watched.removed())
    })?;
    let there = observer.lookup(&service).await?.len();
    ensure(there == RECORDS, || format!("{there} records are there"))?;
    ensure(rate > 0.0, || "nothing was renewed")
}

/// Waits until all are live.
async fn all_live(registrations: &[Registration], limit: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let count = alive(registrations);
        if count == registrations.len() {
            return Ok(());
        }
        ensure(begun.elapsed() < limit, || {
            format!("{count} of {} are live", registrations.len())
        })?;
        sleep(LOOK_EVERY / 10).await;
    }
}

fn instance(service: &ServiceName, place: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("n{place:05}"))?;
    let address = Address::new(&format!("10.0.{}.{}:8080", place / 250, place % 250 + 1))?;
    Ok(Instance::new(service.clone(), Node::new(id, address)))
}

fn alive(registrations: &[Registration]) -> usize {
    let standings = registrations.iter().map(Registration::standing);
    standings
        .filter(|standing| standing.borrow().state.as_str() == "live")
        .count()
}

/// The renewals that the leader has seen.
async fn renewals(etcd: &Clustered<EtcdCluster>, leader: usize) -> Result<f64> {
    let member = etcd.cluster().members().get(leader).ok_or("no leader")?;
    let metrics = crate::impostor::get(member.address().parse()?, "/metrics").await?;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("etcd_debugging_lease_renewed_total "));
    Ok(value
        .ok_or("the leader does not count renewals")?
        .trim()
        .parse()?)
}

fn process_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "| {text} |");
}
