//! How much later than a bare client the directory has a change, event by event in one process.

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions};

use crate::clock::micros;
use crate::report::{Goal, Row};
use crate::series::Series;

use super::bare::{Bare, Heard, service};
use super::setting;

const SPACE: &str = "event";
/// In microseconds: the middle event, and all but one in a hundred.
const MEDIAN_GOAL: f64 = 100.0;
const LATE_GOAL: f64 = 1000.0;

pub(crate) async fn measure<B: Bare>(mut server: B) -> Result<Vec<Row>> {
    // Events that do not count, and those that do.
    let warm = B::EVENTS / 20;
    let events = warm + B::EVENTS;
    let first = collect(server.listen(SPACE).await?, events);
    let directory = follow(&server, events).await?;
    let second = collect(server.listen(SPACE).await?, events);
    for number in 0..events {
        // Every event is a new node, so that a count tells which one has come.
        let instance = setting::instance(&service(SPACE)?, number)?;
        server.write(SPACE, &instance).await?;
        sleep(B::APART).await;
    }
    let (first, ours, second) = (first.await??, directory.await??, second.await??);

    let later = |ours: &[Instant], than: &[Instant]| {
        let pairs = ours.iter().zip(than).skip(warm);
        Series::new(pairs.map(|(a, b)| signed(*a, *b)).collect())
    };
    let (ours, itself) = (later(&ours, &first), later(&second, &first));
    let row = |name: &str, q: f64, goal: f64| {
        let name = format!("event later than a bare client, {name}, {}", B::NAME);
        let mut row = Row::new(name, "µs", Series::one(ours.quantile(q)))
            .against(Series::one(itself.quantile(q)))
            .goal(Goal::Bound(goal));
        if itself.quantile(q) > goal {
            row.doubt = Some("two bare clients differ by more".to_owned());
        }
        row.note("peer: a second bare client, by the same subtraction")
    };
    Ok(vec![
        row("p50", 0.5, MEDIAN_GOAL),
        row("p99", 0.99, LATE_GOAL),
    ])
}

/// Microseconds from `b` to `a`.
fn signed(a: Instant, b: Instant) -> f64 {
    micros(a.saturating_duration_since(b)) - micros(b.saturating_duration_since(a))
}

fn collect(mut heard: Heard, events: usize) -> JoinHandle<Result<Vec<Instant>>> {
    tokio::spawn(async move {
        let mut come = Vec::with_capacity(events);
        while come.len() < events {
            come.push(heard.recv().await.context("the watch ended")?);
        }
        Ok(come)
    })
}

/// A reader of the directory; gives the moment at which it had each event.
async fn follow<B: Bare>(server: &B, events: usize) -> Result<JoinHandle<Result<Vec<Instant>>>> {
    let registry = setting::connect(&server.url(SPACE)).await?;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let mut followed = directory.follow(service(SPACE)?).await?;
    Ok(tokio::spawn(async move {
        // What it follows is let go with the directory.
        let _directory = directory;
        let mut come = Vec::with_capacity(events);
        while come.len() < events {
            let members = followed.changed().await;
            come.resize(members.len(), Instant::now());
        }
        Ok(come)
    }))
}
