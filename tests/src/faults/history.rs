//! etcd's history and its limits: compaction, batches of deletions, answers beyond a message.

use tokio::time::sleep;
use waypost_core::{Directory, DirectoryOptions};
use waypost_testkit::proxy::Manner;

use crate::backend::Etcd;
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::house::{House, SERVICE, Shape, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// Nodes of one lease, all of which go at once.
const BATCH: usize = 100;
/// Good records whose answer is beyond one message of 4 MiB.
const LARGE: usize = 30;
/// Bytes of one of them, at least.
const LARGE_BYTES: usize = 150_000;
/// Bytes of a hostile value: as much as the server takes.
const HOSTILE_BYTES: usize = 1_500_000;

pub(super) fn faults() -> Vec<Fault<Etcd>> {
    vec![
        Fault {
            name: "F14_compaction_while_the_watch_is_cut",
            law: "what was deleted while a watch was cut, and compacted since, is removed",
            bound: bound!(CAP + 2 * EPSILON),
            shape: Shape::PROXIED,
            run: |house| Box::pin(compacted(house)),
        },
        Fault {
            name: "F15_one_lease_takes_a_hundred_records",
            law: "every deletion of a batch arrives",
            bound: bound!(EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(batch(house)),
        },
        Fault {
            name: "F16_deletion_at_the_compacted_boundary",
            law: "a deletion whose former value is compacted away is still a deletion",
            bound: bound!(CAP + EPSILON),
            shape: Shape::PROXIED,
            run: |house| Box::pin(boundary(house)),
        },
        Fault {
            name: "F36_list_beyond_one_message",
            law: "a list of more than 4 MiB is read whole, and hostile values hide no good one",
            bound: bound!(CAP + EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(large(house)),
        },
    ]
}

async fn compacted(house: &mut House<Etcd>) -> Result<f64> {
    let lease = house.backend.plant(&house.namespace, SERVICE, 3, 0).await?;
    house
        .all_see("nine nodes", patience(EPSILON), |set| set.len() == 9)
        .await?;
    house.ways()?.behave_to_readers(Manner::Refuse);
    sleep(EPSILON / 2).await;
    house.backend.revoke(lease).await?;
    let other = house.backend.plant(&house.namespace, SERVICE, 1, 0).await?;
    house.backend.compact().await?;
    house
        .history
        .note("by hand", "deleted three, put one, compacted");
    sleep(2 * EPSILON).await;
    house.ways()?.mend();
    let seven = |set: &crate::observe::Set| set.len() == 7;
    let took = house
        .all_see("seven nodes", patience(CAP + EPSILON), seven)
        .await?;
    house.backend.revoke(other).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn batch(house: &mut House<Etcd>) -> Result<f64> {
    let lease = house
        .backend
        .plant(&house.namespace, SERVICE, BATCH, 0)
        .await?;
    let all = BATCH + 6;
    house
        .all_see("a hundred more", patience(EPSILON), |set| set.len() == all)
        .await?;
    house.backend.revoke(lease).await?;
    let took = house
        .all_see("six", patience(EPSILON), |set| set.len() == 6)
        .await?;
    for watched in &house.watched {
        let removed = watched.removed();
        ensure(removed == BATCH, || {
            format!("a watch told of {removed} removals")
        })?;
    }
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn boundary(house: &mut House<Etcd>) -> Result<f64> {
    let lease = house.backend.plant(&house.namespace, SERVICE, 1, 0).await?;
    house
        .all_see("seven nodes", patience(EPSILON), |set| set.len() == 7)
        .await?;
    // Nothing passes for a while, so that the server itself has to read the deletion back.
    house.ways()?.behave_to_readers(Manner::Hold);
    house.backend.revoke(lease).await?;
    house.backend.compact().await?;
    house
        .history
        .note("by hand", "deleted one and compacted at the deletion");
    sleep(2 * EPSILON).await;
    house.ways()?.mend();
    let six = |set: &crate::observe::Set| set.len() == 6;
    let took = house
        .all_see("six nodes", patience(CAP + EPSILON), six)
        .await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn large(house: &mut House<Etcd>) -> Result<f64> {
    let (backend, namespace) = (&house.backend, house.namespace.clone());
    let hostile = backend
        .plant_hostile(&namespace, SERVICE, 3, HOSTILE_BYTES)
        .await?;
    let lease = backend
        .plant(&namespace, SERVICE, LARGE, LARGE_BYTES)
        .await?;
    let all = LARGE + 6;
    house
        .all_see("the large ones", patience(EPSILON), |set| set.len() == all)
        .await?;
    let client = house.client().await?;
    let begun = tokio::time::Instant::now();
    let listed = client.lookup(&service()).await?.len();
    let followed = Directory::new(client.clone(), DirectoryOptions::new());
    let members = followed.follow(service()).await?.members().len();
    let took = begun.elapsed();
    ensure((listed, members) == (all, all), || {
        format!("of {all} records a lookup has {listed} and a directory {members}")
    })?;
    let skipped = client.skipped().total();
    ensure(skipped >= 3, || {
        format!("{skipped} records were skipped, not 3")
    })?;
    house.backend.revoke(lease).await?;
    house.backend.revoke(hostile).await?;
    let six = |set: &crate::observe::Set| set.len() == 6;
    house.all_see("six nodes", patience(EPSILON), six).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}
