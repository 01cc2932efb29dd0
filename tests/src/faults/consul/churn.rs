//! Others change things all the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use waypost_core::WatchScope;

use crate::backend::Consul;
use crate::bounds::{EPSILON, bound};
use crate::house::{House, Shape, service};
use crate::observe::Set;
use crate::{Result, ensure};

use super::super::{Fault, patience, seconds};
use super::{machine, record};

/// How long others change things.
const DURING: Duration = Duration::from_secs(8);
/// Who they are: each changes fifty records a second, ten in a transaction.
const WRITERS: usize = 4;
const RECORDS: usize = 10;
const CHANGE_EVERY: Duration = Duration::from_millis(200);
/// Two hundred changes a second, less what a writer's turn may be late by.
const LEAST_RATE: f64 = 180.0;
/// Rounds of a watch: so many at once, and so many a second in the long run.
const BURST: f64 = 8.0;
const ROUNDS: f64 = 4.0;
/// The distance of two changes that are waited for.
const MARK_EVERY: Duration = Duration::from_millis(300);
const MARK: &str = "marked";

pub(super) fn faults() -> Vec<Fault<Consul>> {
    vec![Fault {
        name: "F32_two_hundred_changes_a_second_by_others",
        law: "while others change two hundred records a second, half of them of the same service, \
              every change is seen soon, and an agent is asked four times a second",
        bound: bound!(EPSILON),
        shape: Shape::PLAIN,
        run: |house| Box::pin(churn(house)),
    }]
}

async fn churn(house: &mut House<Consul>) -> Result<f64> {
    let machine = machine("churn");
    let over = Instant::now() + DURING;
    let writes = AtomicUsize::new(0);
    let writers = (0..WRITERS).map(|writer| write(house, &machine, writer, over, &writes));
    let (written, rounds, lag) = tokio::join!(
        try_join_all(writers),
        rounds(house, over),
        lag(house, &machine, over),
    );
    house.backend.uproot(&machine).await?;
    written?;
    let rate = writes.into_inner() as f64 / DURING.as_secs_f64();
    house
        .history
        .note("others", format!("changed {rate:.0} records a second"));
    ensure(rate >= LEAST_RATE, || {
        format!("only {rate:.0} changes a second could be made")
    })?;
    let (rounds, most) = (rounds?, BURST + ROUNDS * DURING.as_secs_f64() + 1.0);
    house
        .history
        .note("watch", format!("told of {rounds} rounds"));
    ensure(rounds as f64 <= most, || {
        format!("a watch asked {rounds} times in {DURING:?}")
    })?;
    let six = |set: &Set| set.len() == 6;
    let took = house.all_see("six nodes", patience(EPSILON), six).await?;
    house.bystanders_stay(0)?;
    seconds(took.max(lag?))
}

/// A record of the service that everybody follows, or of another one, in turn.
fn changed(place: usize, turn: usize) -> Value {
    let mut record = record(&format!("churn-{place:02}"), place);
    if place % 2 == 1 {
        record["Service"] = json!(format!("others-{place:02}"));
    }
    record["Meta"] = json!({"turn": turn.to_string()});
    record
}

/// Changes ten records again and again.
async fn write(
    house: &House<Consul>,
    machine: &str,
    writer: usize,
    over: Instant,
    writes: &AtomicUsize,
) -> Result<()> {
    let mut ticks = interval(CHANGE_EVERY);
    // Who was held up makes up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for turn in 0.. {
        if Instant::now() >= over {
            break;
        }
        ticks.tick().await;
        let changed: Vec<Value> = (0..RECORDS)
            .map(|number| changed(writer * RECORDS + number, turn))
            .collect();
        house.backend.plant(machine, &changed).await?;
        writes.fetch_add(RECORDS, Ordering::Relaxed);
    }
    Ok(())
}

/// How often a watch of the service comes round: each round tells something, if only that all is
/// as it was.
async fn rounds(house: &House<Consul>, over: Instant) -> Result<usize> {
    let client = house.client().await?;
    let mut watcher = client.watch(WatchScope::Service(service())).await?;
    let mut rounds = 0;
    while let Ok(event) = timeout_at(over, watcher.next()).await {
        event.ok_or("the watch ended")??;
        rounds += 1;
    }
    Ok(rounds)
}

/// The longest time until everybody sees a change.
async fn lag(house: &House<Consul>, machine: &str, over: Instant) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut mark = 0;
    while Instant::now() < over {
        mark += 1;
        let text = format!("{mark}");
        let mut marked = record(MARK, 99);
        marked["Meta"] = json!({ MARK: text });
        house.backend.put(machine, &marked).await?;
        let is_marked = |set: &Set| {
            let found = set.iter().find(|(id, _)| id.as_str() == MARK);
            found.is_some_and(|(_, one)| one.node.metadata.get(MARK) == Some(&text))
        };
        let took = house
            .all_see("the mark", patience(EPSILON), is_marked)
            .await?;
        longest = longest.max(took);
        sleep(MARK_EVERY).await;
    }
    Ok(longest)
}
