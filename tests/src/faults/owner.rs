//! What happens to a process that registered: it is killed, told to end, stopped, doubled.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::agent::Signal;
use crate::backend::Backend;
use crate::bounds::{B as CAP, Bound, EPSILON, NONE, R, T, bound};
use crate::house::{House, Shape, has};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let slack = B::SLACK;
    let shape = Shape::PLAIN;
    vec![
        Fault {
            name: "F03_stopped_service_returns",
            law: "a process that stood still for longer than its ttl registers again by itself",
            bound: bound!(R + CAP + EPSILON),
            shape,
            run: |house| Box::pin(stopped(house)),
        },
        Fault {
            name: "F05_restart_with_the_same_id",
            law: "a process that restarts under its old id within the ttl is never missing, and its \
                  former lease takes nothing away",
            bound: bound!(NONE),
            shape,
            run: |house| Box::pin(restarted(house)),
        },
        Fault {
            name: "F06_two_claim_one_id",
            law: "two processes that claim one id do not take the record from each other again and \
                  again",
            bound: Bound {
                formula: "1 / R",
                limit: 1.0 / R.as_secs_f64(),
                unit: "1/s",
            },
            shape,
            run: |house| Box::pin(doubled(house)),
        },
        Fault {
            name: "F04_briefly_stopped_service_stays",
            law: "a process that stands still for half a ttl is never removed",
            bound: bound!(NONE),
            shape,
            run: |house| Box::pin(briefly_stopped(house)),
        },
        Fault {
            name: "F01_killed_service_leaves",
            law: "the records of a killed process are gone within the ttl and the server's slack",
            bound: bound!(T + slack),
            shape,
            run: |house| Box::pin(killed(house)),
        },
        Fault {
            name: "F02_terminated_service_leaves_at_once",
            law: "a process that is told to end deregisters at once and ends well",
            bound: bound!(EPSILON),
            shape,
            run: |house| Box::pin(terminated(house)),
        },
    ]
}

async fn killed<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.agents[0].signal(Signal::KILL)?;
    let took = first_leaves(house, patience(T)).await?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn terminated<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.agents[0].signal(Signal::TERM)?;
    let took = first_leaves(house, patience(EPSILON)).await?;
    let status = house.agents[0].ended(EPSILON).await?;
    ensure(status.success(), || {
        format!("the agent ended with {status}")
    })?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn stopped<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.agents[0].signal(Signal::STOP)?;
    let begun = Instant::now();
    first_leaves(house, patience(T)).await?;
    sleep((3 * T).saturating_sub(begun.elapsed())).await;
    house.agents[0].signal(Signal::CONT)?;
    let took = first_is_there(house, patience(R + CAP + EPSILON)).await?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn briefly_stopped<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.agents[0].signal(Signal::STOP)?;
    sleep(T / 2).await;
    house.agents[0].signal(Signal::CONT)?;
    sleep(T).await;
    house.bystanders_stay(1)?;
    seconds(absence(house))
}

async fn restarted<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.agents[0].signal(Signal::KILL)?;
    house.agents[0].ended(EPSILON).await?;
    house.restart_agent(0)?;
    sleep(2 * T).await;
    let pid = house.agents[0].pid().unwrap_or(0).to_string();
    let [first, second] = house.nodes(0);
    let owned = |one: &waypost_core::Instance| one.node.metadata.get("pid") == Some(&pid);
    house
        .all_see("the new process's records", EPSILON, |set| {
            let ours = set.values().filter(|one| owned(one)).count();
            has(set, first) && has(set, second) && ours == 2
        })
        .await?;
    house.bystanders_stay(1)?;
    seconds(absence(house))
}

async fn doubled<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let [first, second] = house.nodes(0);
    let other = house.start_agent(3, house.agents[0].order().clone())?;
    other.live(T).await?;
    // The first exchanges are no flapping yet: the newcomer learns by three losses, and the first
    // process, who has learnt by earlier repetitions, takes its time between them.
    sleep(2 * T).await;
    let writes = || {
        let each = house
            .watched
            .iter()
            .flat_map(|watched| [first, second].map(|node| watched.writes(node)));
        each.max().unwrap_or(0)
    };
    let (begun, before) = (Instant::now(), writes());
    sleep(2 * T).await;
    let rate = (writes() - before) as f64 / begun.elapsed().as_secs_f64();
    ensure(absence(house).is_zero(), || {
        format!("the doubled node was missing for {:?}", absence(house))
    })?;
    other.signal(Signal::TERM)?;
    let back = first_is_there(house, patience(R + CAP + EPSILON)).await?;
    ensure(back <= R + CAP + EPSILON, || {
        format!("when the second process had gone, the first took {back:?} to return")
    })?;
    house.bystanders_stay(1)?;
    Ok(rate)
}

/// Waits until nobody sees the first process's nodes.
async fn first_leaves<B: Backend>(house: &House<B>, limit: Duration) -> Result<Duration> {
    let [first, second] = house.nodes(0);
    let gone = |set: &crate::observe::Set| !has(set, first) && !has(set, second);
    house.all_see("them gone", limit, gone).await
}

/// Waits until everybody sees the first process's nodes.
async fn first_is_there<B: Backend>(house: &House<B>, limit: Duration) -> Result<Duration> {
    let [first, second] = house.nodes(0);
    let there = |set: &crate::observe::Set| has(set, first) && has(set, second);
    house.all_see("them there", limit, there).await
}

/// The longest time that a node of the first process was missing.
pub(super) fn absence<B: Backend>(house: &House<B>) -> Duration {
    let nodes = house.nodes(0).into_iter();
    let absences = nodes.map(|node| house.lookups.absence(node, house.begun));
    absences.max().unwrap_or_default()
}
