//! Many subscribers of one service in one process: one watch at the server, and how long until the
//! last of them has a change, against a single raw watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, Followed};
use waypost_plugin_kit::codec;

use crate::clock::millis;
use crate::report::{Goal, Row};
use crate::series::Series;

use super::event::raw_watch;
use super::setting::{self, Setting};

const OURS: &str = "fanout";
const RAW: &str = "fanout-raw";
const SUBSCRIBERS: usize = 1000;
const WRITES: usize = 200;
const APART: Duration = Duration::from_millis(5);
/// Writes are compared in groups of this many, whose medians show the spread.
const GROUP: usize = 40;

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let before = setting.server.watchers().await?;
    let registry = setting.registry(OURS).await?;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let (mut lasts, subscribers) = subscribe(&directory).await?;
    let watches = setting.server.watchers().await? - before;
    let mut firsts = raw(setting).await?;

    let mut client = setting.client().await?;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for number in 0..WRITES + GROUP {
        let raw = write(&mut client, RAW, number, &mut firsts).await?;
        let last = write(&mut client, OURS, number, &mut lasts).await?;
        if number >= GROUP {
            peer.push(raw);
            ours.push(last);
        }
    }
    drop(subscribers);
    setting.clear(OURS).await?;
    setting.clear(RAW).await?;
    let row = Row::new(
        format!("last of {SUBSCRIBERS} subscribers has a change"),
        "ms",
        grouped(&ours),
    )
    .against(grouped(&peer))
    .goal(Goal::Most(1.5))
    .note("peer: a single raw watch; both from issuing the write; medians of 40 writes");
    let count = Row::new(
        format!("watches at the server for {SUBSCRIBERS}"),
        "",
        Series::one(watches),
    )
    .goal(Goal::Fact("= 1", (watches - 1.0).abs() < f64::EPSILON));
    Ok(vec![count, row])
}

fn grouped(values: &[f64]) -> Series {
    let median = |group: &[f64]| Series::new(group.to_vec()).median();
    Series::new(values.chunks(GROUP).map(median).collect())
}

/// Writes one node; milliseconds from issuing that until `heard` tells of it.
async fn write(
    client: &mut Client,
    space: &str,
    number: usize,
    heard: &mut mpsc::Receiver<Instant>,
) -> Result<f64> {
    sleep(APART).await;
    let instance = setting::instance(&setting::service()?, number)?;
    let (key, value) = (setting::key(space, &instance), codec::encode(&instance));
    let begun = Instant::now();
    client.put(key, value, None).await?;
    let at = heard.recv().await.context("nobody listens any more")?;
    Ok(millis(at.saturating_duration_since(begun)))
}

async fn raw(setting: &Setting) -> Result<mpsc::Receiver<Instant>> {
    let mut client = setting.client().await?;
    let mut stream = raw_watch(&mut client, RAW).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(events)) = stream.message().await {
            let now = Instant::now();
            for _ in events.events() {
                if sender.send(now).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(receiver)
}

/// Starts the subscribers; the receiver tells when the last of them has had each change.
async fn subscribe(directory: &Directory) -> Result<(mpsc::Receiver<Instant>, JoinSet<()>)> {
    let (sender, receiver) = mpsc::channel(16);
    let had: Arc<AtomicUsize> = Arc::default();
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let followed = directory.follow(setting::service()?).await?;
        subscribers.spawn(subscriber(followed, Arc::clone(&had), sender.clone()));
    }
    Ok((receiver, subscribers))
}

async fn subscriber(mut followed: Followed, had: Arc<AtomicUsize>, last: mpsc::Sender<Instant>) {
    loop {
        followed.changed().await;
        // One write at a time: the next one is made when all have had this one.
        let count = had.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(SUBSCRIBERS) && last.send(Instant::now()).await.is_err() {
            return;
        }
    }
}
