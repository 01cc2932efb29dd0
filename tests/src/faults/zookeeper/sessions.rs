//! Connections that are lost while the session lives, and a session that takes everything along.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;
use waypost_core::{Address, Instance, Node, NodeId, RegisterOptions};
use waypost_testkit::proxy::Manner;

use crate::backend::Zookeeper;
use crate::bounds::{B as CAP, Bound, EPSILON, bound};
use crate::faults::{Fault, patience, seconds};
use crate::house::{House, Shape, key, service};
use crate::{Result, ensure};

/// Records of one session.
const BATCH: usize = 100;
/// How often the connections are cut.
const CUTS: usize = 5;
/// A silence that breaks the connection (2 s) and not the session (4 s at least).
const SILENCE: Duration = Duration::from_millis(2_500);

pub(super) fn faults() -> Vec<Fault<Zookeeper>> {
    vec![
        Fault {
            name: "F13_lost_connections_write_nothing",
            law: "a connection that is lost while the session lives is no reason to write anything",
            bound: Bound {
                formula: "0 writes",
                limit: 0.0,
                unit: "",
            },
            shape: Shape::PROXIED,
            run: |house| Box::pin(connections_lost(house)),
        },
        Fault {
            name: "F15_one_session_takes_a_hundred_records",
            law: "every deletion of a batch arrives",
            bound: bound!(EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(batch(house)),
        },
    ]
}

async fn connections_lost(house: &mut House<Zookeeper>) -> Result<f64> {
    let before = written(house).await?;
    for _ in 0..CUTS {
        house.ways()?.cut_house();
        sleep(EPSILON).await;
    }
    house.ways()?.behave(Manner::Hold);
    sleep(SILENCE).await;
    house.ways()?.mend();
    let took = house.healed(patience(CAP + EPSILON)).await?;
    ensure(took <= CAP + EPSILON, || format!("healing took {took:?}"))?;
    // A beat and more: what was thought lost would have been written again.
    sleep(house.shape().ttl / 2).await;
    let after = written(house).await?;
    house.history.note(
        "server",
        format!("was written at {before:?}, {after:?} now"),
    );
    house.bystanders_stay(0)?;
    let differ = before
        .iter()
        .zip(&after)
        .filter(|(one, other)| one != other);
    Ok(differ.count() as f64)
}

/// The transactions that created and last wrote the first process's records, and their owners.
async fn written(house: &House<Zookeeper>) -> Result<Vec<(i64, i64, i64)>> {
    let mut all = Vec::new();
    for node in house.nodes(0) {
        let stat = house.backend.stat(&house.namespace, &key(node)?).await?;
        all.push((stat.czxid, stat.mzxid, stat.ephemeral_owner));
    }
    Ok(all)
}

async fn batch(house: &mut House<Zookeeper>) -> Result<f64> {
    let client = house.client().await?;
    let options = RegisterOptions::new(Duration::from_secs(30));
    let registering = stream::iter(0..BATCH).map(|place| {
        let client = &client;
        async move { client.register(&instance(place)?, options).await }
    });
    let leases: Vec<_> = registering.buffer_unordered(BATCH).try_collect().await?;
    let all = BATCH + 6;
    house
        .all_see("a hundred more", patience(EPSILON), |set| set.len() == all)
        .await?;
    let owner = house
        .backend
        .stat(&house.namespace, &instance(0)?.key())
        .await?;
    house.backend.close(owner.ephemeral_owner).await?;
    house.history.note("by hand", "closed the session");
    let six = |set: &crate::observe::Set| set.len() == 6;
    let took = house.all_see("six", patience(EPSILON), six).await?;
    drop((leases, client));
    for watched in &house.watched {
        let removed = watched.removed();
        ensure(removed == BATCH, || {
            format!("a watch told of {removed} removals")
        })?;
    }
    house.bystanders_stay(0)?;
    seconds(took)
}

fn instance(place: usize) -> waypost_core::Result<Instance> {
    let id = NodeId::new(&format!("batch-{place:03}"))?;
    let address = Address::new(&format!("127.0.0.1:{}", 21_000 + place))?;
    Ok(Instance::new(service(), Node::new(id, address)))
}
