//! What happens to a cluster of three: its leader falls, a member is cut off, links are bad.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{
    Address, Instance, Node, NodeId, Registration, RegistrationOptions, ServiceName,
};
use waypost_testkit::Missing;
use waypost_testkit::proxy::Link;

use crate::backend::{Backend, Clustered, Kind};
use crate::bounds::{B as CAP, Bound, EPSILON, K as SILENT, NONE, refresh};
use crate::house::{House, Shape, connect, service};
use crate::observe::{Eye as _, Watched, Writes};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// The ttl in a cluster. What a frozen leader was told last may be as old as a renewal, and it must
/// not believe it expired when it wakes up.
const TTL: Duration = Duration::from_secs(6);
/// How long a leader is gone: longer than an election, and, with a renewal, shorter than the ttl.
const GONE: Duration = Duration::from_secs(3);
/// How long it is frozen when it is to believe that everything has expired.
const LONG: Duration = Duration::from_secs(15);
/// How long bad links are used.
const BAD: Duration = Duration::from_secs(20);
/// The share of packets that a bad link loses.
const LOST: f64 = 0.05;

/// A fault and how often it is repeated.
pub type Repeated<B> = (usize, Fault<B>);

/// The faults of a cluster. Long ones first, so that the last to end is a short one.
#[must_use]
pub fn cluster<K: Kind>() -> Vec<Repeated<Clustered<K>>> {
    let shape = Shape {
        ttl: TTL,
        ..Shape::PLAIN
    };
    vec![
        (
            20,
            Fault {
                name: named::<K>("F17_leader_falls"),
                law: "a leader that dies or freezes removes nobody and fails no read, and writes \
                      go on when there is another",
                bound: limit("ELECTION + HOLD + EPSILON", K::ELECTION + K::HOLD + EPSILON),
                shape,
                run: |house| Box::pin(leader_falls(house)),
            },
        ),
        (
            3,
            Fault {
                name: named::<K>("F17_leader_frozen_beyond_the_ttl"),
                law: "a leader that wakes up after more than a ttl fails no read, and what it \
                      removes returns within a third of a renewal",
                bound: returns::<K>(),
                shape,
                run: |house| Box::pin(leader_frozen(house)),
            },
        ),
        (
            K::CUTS,
            Fault {
                name: named::<K>("F18_member_without_its_peers"),
                law: "who is at a member that lost its peers moves to another, and loses no record",
                bound: limit("K + ELECTION + B", SILENT + K::ELECTION + CAP),
                shape,
                run: |house| Box::pin(isolated(house)),
            },
        ),
        (
            1,
            Fault {
                name: named::<K>("F21_slow_and_lossy_links"),
                law: "slow clients and links that lose packets remove nobody",
                bound: limit("NONE", NONE),
                shape: Shape {
                    ttl: Duration::from_secs(10),
                    ..Shape::PROXIED
                },
                run: |house| Box::pin(lossy(house)),
            },
        ),
    ]
}

/// The name of a fault on this kind of cluster, which lives as long as the program.
fn named<K: Kind>(fault: &str) -> &'static str {
    format!("{}_{fault}", K::NAME).leak()
}

/// How soon what a leader removes when it wakes up is back. Its owner, where it was the frozen
/// member's, has failed to write it elsewhere until then.
fn returns<K: Kind>() -> Bound {
    let spread = refresh(TTL) / 3 + EPSILON;
    match K::RECORDS_MOVE {
        true => limit("HOLD + R / 3 + EPSILON", K::HOLD + spread),
        false => limit("R / 3 + EPSILON", spread),
    }
}

fn limit(formula: &'static str, limit: Duration) -> Bound {
    Bound {
        formula,
        limit: limit.as_secs_f64(),
        unit: "s",
    }
}

/// Returns the longest time without a write, but for what the cluster's own election took longer than
/// it should: a vote that is split is repeated.
async fn leader_falls<K: Kind>(house: &mut House<Clustered<K>>) -> Result<f64> {
    let writes = writing(house).await?;
    let is_killed = house.backend.strikes().is_multiple_of(2);
    let begun = Instant::now();
    if is_killed {
        house.backend.kill().await?;
        house.history.note("leader", "is killed");
    } else {
        house.backend.pause().await?;
        house.history.note("leader", "is frozen");
    }
    let (backend, history) = (&house.backend, &house.history);
    let electing = async {
        backend.elected().await;
        let took = begun.elapsed();
        history.note("cluster", format!("has a leader after {took:.2?}"));
        took
    };
    let returning = async {
        sleep(GONE).await;
        let back = match is_killed {
            true => backend.start().await,
            false => backend.unpause().await,
        };
        history.note("leader", "is back");
        back
    };
    let (election, back) = tokio::join!(electing, returning);
    back?;
    house.healed(patience(CAP + EPSILON)).await?;
    sleep(EPSILON).await;
    let gap = writes.gap();
    house
        .history
        .note("writer", format!("longest gap {gap:.2?}"));
    // What has to be written elsewhere cannot be, for the rest of its ttl.
    let is_too_long = election > TTL - refresh(TTL);
    if !(K::RECORDS_MOVE && is_too_long) {
        nobody_was_removed(house)?;
    }
    seconds(gap.saturating_sub(election.saturating_sub(K::ELECTION)))
}

/// Returns the longest time for which a record was missing.
async fn leader_frozen<K: Kind>(house: &mut House<Clustered<K>>) -> Result<f64> {
    house.backend.pause().await?;
    house.history.note("leader", "is frozen");
    sleep(LONG).await;
    nobody_was_removed(house)?;
    house.backend.unpause().await?;
    house.history.note("leader", "goes on");
    sleep(2 * EPSILON).await;
    house.healed(patience(CAP + EPSILON)).await?;
    seconds(longest_absence(house))
}

/// Returns how long it took until everybody saw what was written without the member.
async fn isolated<K: Kind>(house: &mut House<Clustered<K>>) -> Result<f64> {
    packets_can_be_dropped(house).await?;
    let leader = house.backend.cluster().leader().await?;
    let spared = (!K::LEADER_IS_MISSED).then_some(leader);
    let lost = house.backend.busiest(spared).await?;
    let others: Vec<usize> = (0..3).filter(|place| *place != lost).collect();
    let pinned = pinned(house, [lost, others[0], others[1]]).await?;
    house.backend.cluster().isolate(lost).await?;
    let begun = Instant::now();
    let role = if lost == leader { "leader" } else { "follower" };
    house
        .history
        .note("network", format!("cut member {lost}, a {role}, off"));
    let majority = connect(&house.backend.url_of(&others, &house.namespace)).await?;
    let id = NodeId::new(&format!("late-{:x}", fastrand::u32(..)))?;
    let late = Node::new(id.clone(), Address::new("127.0.0.1:22001")?);
    let options = RegistrationOptions::new().with_ttl(TTL);
    let late = Registration::start(majority, Instance::new(service(), late), options)?;
    let bound = SILENT + K::ELECTION + CAP;
    let seen = house
        .all_see("the late one", patience(bound), |set| set.contains_key(&id))
        .await;
    let sees = || pinned.sees(begun).is_some_and(|set| set.contains_key(&id));
    while seen.is_ok() && !sees() && begun.elapsed() < patience(bound) {
        sleep(EPSILON / 100).await;
    }
    let took = seen.map(|_| begun.elapsed());
    house.backend.cluster().mend().await?;
    house.history.note("network", "mended");
    let took = took?;
    let noticed = house
        .readers
        .iter()
        .any(|reader| !reader.account().stale.is_empty())
        || house
            .watched
            .iter()
            .chain([&pinned])
            .any(|watched| !watched.failures().is_empty());
    ensure(noticed, || "nobody who looks on was at that member")?;
    nobody_was_removed(house)?;
    late.release().await?;
    house.healed(patience(CAP + EPSILON)).await?;
    seconds(took)
}

/// Returns the longest time for which a record was missing.
async fn lossy<K: Kind>(house: &mut House<Clustered<K>>) -> Result<f64> {
    packets_can_be_dropped(house).await?;
    let link = Link::default()
        .with_latency(Duration::from_millis(200))
        .with_jitter(Duration::from_millis(100));
    house.ways()?.shape("200 ms +- 100 ms", &link);
    house.backend.cluster().lose(LOST).await?;
    house.history.note("network", "loses one packet of twenty");
    sleep(BAD).await;
    let missing = longest_absence(house);
    house.backend.cluster().mend().await?;
    house.ways()?.mend();
    house.healed(patience(CAP + EPSILON)).await?;
    seconds(missing)
}

/// Somebody who writes as fast as it goes, and does.
async fn writing<K: Kind>(house: &House<Clustered<K>>) -> Result<Writes> {
    let name = ServiceName::new("written")?;
    let writes = Writes::start(house.client().await?, name, TTL, house.history.clone());
    let begun = Instant::now();
    while writes.written() < 5 {
        ensure(
            begun.elapsed() < patience(EPSILON),
            || "nothing can be written before",
        )?;
        sleep(EPSILON / 20).await;
    }
    Ok(writes)
}

/// Where they cannot the fault is left out, with the reason.
async fn packets_can_be_dropped<K: Kind>(house: &House<Clustered<K>>) -> Result<()> {
    Ok(house
        .backend
        .cluster()
        .mend()
        .await
        .map_err(Missing::from)?)
}

/// Somebody more who looks on, and begins with the first of these members.
async fn pinned<K: Kind>(house: &House<Clustered<K>>, order: [usize; 3]) -> Result<Watched> {
    let registry = connect(&house.backend.url_of(&order, &house.namespace)).await?;
    let watched = Watched::start("pinned", registry, service(), house.history.clone());
    let begun = Instant::now();
    while !watched.is_open() {
        ensure(
            begun.elapsed() < patience(EPSILON),
            || "nothing can be watched before",
        )?;
        sleep(EPSILON / 100).await;
    }
    watched.restart();
    Ok(watched)
}

fn longest_absence<K: Kind>(house: &House<Clustered<K>>) -> Duration {
    let nodes = (0..3).flat_map(|place| house.nodes(place));
    let absences = nodes.map(|node| house.lookups.absence(node, house.begun));
    absences.max().unwrap_or_default()
}

/// No lookup missed a node, and no watch told of a removal.
fn nobody_was_removed<K: Kind>(house: &House<Clustered<K>>) -> Result<()> {
    let missing = longest_absence(house);
    ensure(missing.is_zero(), || {
        format!("a record was missing for {missing:?}")
    })?;
    for watched in &house.watched {
        let removed = watched.removed();
        ensure(removed == 0, || {
            format!("{} told of {removed} removals", watched.name())
        })?;
    }
    Ok(())
}
