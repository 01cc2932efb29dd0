//! How much later than a raw watch the directory has a change, event by event in one process.

use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{Client, WatchOptions, WatchStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions};
use waypost_plugin_kit::codec;

use crate::clock::micros;
use crate::report::{Goal, Row};
use crate::series::Series;

use super::setting::{self, Setting};

const SPACE: &str = "event";
/// Events that do not count, and those that do.
const WARM: usize = 50;
const EVENTS: usize = 1000;
/// Between two events.
const APART: Duration = Duration::from_millis(3);
/// In microseconds: the middle event, and all but one in a hundred.
const MEDIAN_GOAL: f64 = 100.0;
const LATE_GOAL: f64 = 1000.0;

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let first = watch(setting).await?;
    let directory = follow(setting).await?;
    let second = watch(setting).await?;
    write(&mut setting.client().await?).await?;
    let (first, ours, second) = (first.await??, directory.await??, second.await??);
    setting.clear(SPACE).await?;

    let later = |ours: &[Instant], than: &[Instant]| {
        let pairs = ours.iter().zip(than).skip(WARM);
        Series::new(pairs.map(|(a, b)| signed(*a, *b)).collect())
    };
    let (ours, itself) = (later(&ours, &first), later(&second, &first));
    let row = |name: &str, q: f64, goal: f64| {
        let mut row = Row::new(name, "µs", Series::one(ours.quantile(q)))
            .against(Series::one(itself.quantile(q)))
            .goal(Goal::Bound(goal));
        if itself.quantile(q) > goal {
            row.doubt = Some("two raw watches differ by more".to_owned());
        }
        row.note("peer: a second raw watch, by the same subtraction")
    };
    Ok(vec![
        row("event later than a raw watch, p50", 0.5, MEDIAN_GOAL),
        row("event later than a raw watch, p99", 0.99, LATE_GOAL),
    ])
}

/// Microseconds from `b` to `a`.
fn signed(a: Instant, b: Instant) -> f64 {
    micros(a.saturating_duration_since(b)) - micros(b.saturating_duration_since(a))
}

/// Every event is a new node, so that a count tells which one has come.
async fn write(client: &mut Client) -> Result<()> {
    let service = setting::service()?;
    for number in 0..WARM + EVENTS {
        let instance = setting::instance(&service, number)?;
        let (key, value) = (setting::key(SPACE, &instance), codec::encode(&instance));
        client.put(key, value, None).await?;
        sleep(APART).await;
    }
    Ok(())
}

/// A raw watch; gives the moment at which each event came.
async fn watch(setting: &Setting) -> Result<JoinHandle<Result<Vec<Instant>>>> {
    let mut client = setting.client().await?;
    let mut stream = raw_watch(&mut client, SPACE).await?;
    Ok(tokio::spawn(async move {
        let mut come = Vec::new();
        while come.len() < WARM + EVENTS {
            let events = stream.message().await?.context("the watch ended")?;
            let now = Instant::now();
            come.resize(come.len() + events.events().len(), now);
        }
        Ok(come)
    }))
}

/// Watches a space with the raw client; it is open when this returns.
pub(crate) async fn raw_watch(client: &mut Client, space: &str) -> Result<WatchStream> {
    let options = WatchOptions::new().with_prefix();
    let key = format!("{}/", setting::prefix(space));
    let mut stream = client.watch(key, Some(options)).await?;
    let created = stream.message().await?.context("the watch ended at once")?;
    anyhow::ensure!(created.created(), "the watch was not created");
    Ok(stream)
}

/// A reader of the directory; gives the moment at which it had each event.
async fn follow(setting: &Setting) -> Result<JoinHandle<Result<Vec<Instant>>>> {
    let registry = setting.registry(SPACE).await?;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let mut followed = directory.follow(setting::service()?).await?;
    Ok(tokio::spawn(async move {
        // What it follows is let go with the directory.
        let _directory = directory;
        let mut come = Vec::new();
        while come.len() < WARM + EVENTS {
            let members = followed.changed().await;
            come.resize(members.len(), Instant::now());
        }
        Ok(come)
    }))
}
