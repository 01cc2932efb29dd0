//! Many subscribers of one service in one process: one watch at the server, and how long until the
//! last of them has a change, against a single bare client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, Followed};

use crate::clock::millis;
use crate::report::{Goal, Row};
use crate::series::Series;

use super::bare::{Bare, Heard, service};
use super::setting;

const OURS: &str = "fanout";
const RAW: &str = "fanout-raw";
const SUBSCRIBERS: usize = 1000;
/// Writes are compared in so many groups, whose medians show the spread.
const GROUPS: usize = 5;

pub(crate) async fn measure<B: Bare>(mut server: B) -> Result<Vec<Row>> {
    let registry = setting::connect(&server.url(OURS)).await?;
    // What a process with a directory has open anyway.
    registry.lookup(&service(OURS)?).await?;
    let before = server.watches().await?;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let (mut lasts, subscribers) = subscribe(&directory).await?;
    // A long poll is on its way a moment later.
    sleep(B::APART).await;
    let watches = server.watches().await? - before;
    let mut firsts = server.listen(RAW).await?;

    let group = B::WRITES / GROUPS;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for number in 0..B::WRITES + group {
        let raw = write(&mut server, RAW, number, &mut firsts).await?;
        let last = write(&mut server, OURS, number, &mut lasts).await?;
        if number >= group {
            peer.push(raw);
            ours.push(last);
        }
    }
    drop(subscribers);
    let row = Row::new(
        format!(
            "last of {SUBSCRIBERS} subscribers has a change, {}",
            B::NAME
        ),
        "ms",
        grouped(&ours, group),
    )
    .against(grouped(&peer, group))
    .goal(Goal::Most(1.5))
    .note(format!(
        "peer: a single bare client; both from issuing the write; medians of {group} writes"
    ));
    let count = Row::new(
        format!("watches at the server for {SUBSCRIBERS}, {}", B::NAME),
        "",
        Series::one(watches),
    )
    .goal(Goal::Fact("<= 1", watches <= 1.0));
    Ok(vec![count, row])
}

fn grouped(values: &[f64], group: usize) -> Series {
    let median = |group: &[f64]| Series::new(group.to_vec()).median();
    Series::new(values.chunks(group).map(median).collect())
}

/// Writes one node; milliseconds from issuing that until `heard` tells of it.
async fn write<B: Bare>(
    server: &mut B,
    space: &str,
    number: usize,
    heard: &mut Heard,
) -> Result<f64> {
    sleep(B::APART).await;
    let instance = setting::instance(&service(space)?, number)?;
    let begun = Instant::now();
    server.write(space, &instance).await?;
    let at = heard.recv().await.context("nobody listens any more")?;
    Ok(millis(at.saturating_duration_since(begun)))
}

/// Starts the subscribers; the receiver tells when the last of them has had each change.
async fn subscribe(directory: &Directory) -> Result<(Heard, JoinSet<()>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let had: Arc<AtomicUsize> = Arc::default();
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let followed = directory.follow(service(OURS)?).await?;
        subscribers.spawn(subscriber(followed, Arc::clone(&had), sender.clone()));
    }
    Ok((receiver, subscribers))
}

async fn subscriber(
    mut followed: Followed,
    had: Arc<AtomicUsize>,
    last: mpsc::UnboundedSender<Instant>,
) {
    loop {
        followed.changed().await;
        // One write at a time: the next one is made when all have had this one.
        let count = had.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_multiple_of(SUBSCRIBERS) && last.send(Instant::now()).is_err() {
            return;
        }
    }
}
