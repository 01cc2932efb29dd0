//! What happens to single records behind their owner's back.

use std::time::Duration;

use tokio::time::sleep;

use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, T, bound};
use crate::house::{House, Shape, has, key};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// How old a record is before it is taken away: what is lost again and again while it is young
/// looks like a quarrel over the id, and is returned to less fast.
const AGE: Duration = T;

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let shape = Shape::PLAIN;
    vec![
        Fault {
            name: "F11_record_deleted_by_hand",
            law: "a record that was deleted while its owner lives is written again",
            bound: bound!(EPSILON),
            shape,
            run: |house| Box::pin(deleted(house)),
        },
        Fault {
            name: "F13_lease_ended_by_hand",
            law: "a record whose lease was ended while its owner lives is written again",
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(lease_ended(house)),
        },
    ]
}

async fn deleted<B: Backend>(house: &mut House<B>) -> Result<f64> {
    sleep(AGE).await;
    let [node, _] = house.nodes(0);
    house.backend.remove(&house.namespace, &key(node)?).await?;
    house.history.note("by hand", format!("deleted {node}"));
    seconds(written_again(house, node, 1, EPSILON).await?)
}

async fn lease_ended<B: Backend>(house: &mut House<B>) -> Result<f64> {
    sleep(AGE).await;
    let [node, _] = house.nodes(0);
    let key = key(node)?;
    house.backend.end_lease(&house.namespace, &key).await?;
    house
        .history
        .note("by hand", format!("ended the lease of {node}"));
    let ended = if B::SHARED_LEASE { 2 } else { 1 };
    seconds(written_again(house, node, ended, CAP + EPSILON).await?)
}

/// Waits until everybody sees the node, and watches have told that so many had gone: both, but for
/// servers whose watches are hints. There a busy machine may look when all are there again.
async fn written_again<B: Backend>(
    house: &House<B>,
    node: &str,
    gone: usize,
    bound: Duration,
) -> Result<Duration> {
    let began = tokio::time::Instant::now();
    // Of two watches.
    let least = match (B::TELLS_EVERY_CHANGE, B::SHARED_LEASE) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    let there = |set: &crate::observe::Set| {
        let told = house
            .watched
            .iter()
            .filter(|watched| watched.removed() >= gone);
        has(set, node) && set.len() == 6 && told.count() >= least
    };
    house
        .all_see("it there again", patience(bound), there)
        .await?;
    let took = began.elapsed();
    house.bystanders_stay(1)?;
    for watched in &house.watched {
        let removed = watched.removed();
        let right = removed == gone || removed < gone && least < 2;
        ensure(right, || {
            format!("a watch told of {removed} removals, not {gone}")
        })?;
    }
    Ok(took)
}
