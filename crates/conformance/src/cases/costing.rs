//! What a watcher costs.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use waypost_core::{Change, Event, Instance, Lease, Registry, WatchScope};

use super::table;
use crate::check::{Check, Stop, ensure, eventually, exactly};
use crate::context::{Context, MARGIN, instances, service, stepped};
use crate::probe::Probe;

table! {
    a_slow_reader_ends_with_the_right_state ["W5"]
        "A reader that does not read costs bounded memory, holds nobody up, and ends up right."
    a_dropped_watcher_frees_what_it_held ["W6"]
        "However many watchers come and go, no task stays."
}

async fn a_slow_reader_ends_with_the_right_state(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let mut slow = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    let mut quick = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    let records = instances("orders", 5)?;
    let mut leases = Vec::new();
    for record in &records {
        leases.push(cx.register(&*writer, record).await?);
    }
    let step = {
        let mut writing = pin!(write_fast(&mut leases, &records));
        loop {
            tokio::select! {
                step = &mut writing => break step?,
                news = quick.news(MARGIN) => { news?; }
            }
        }
    };
    let last: Vec<_> = records.iter().map(|record| stepped(record, step)).collect();
    // The slow reader has read nothing yet; the quick one has, and is not held up by it.
    quick.until(cx.told_within(), exactly(&last)).await?;
    let told = slow
        .drain(cx.told_within() / 4, cx.told_within() * 2)
        .await?;
    if let Some(fault) = exactly(&last)(&slow.records()) {
        return Err(Stop::Failed(format!(
            "{fault}; after {} events the slow reader has {:?}",
            told.len(),
            slow.records()
        )));
    }
    let (written, queued) = (records.len() * step as usize, upserts(&told));
    ensure!(
        queued <= written / 2 + 100,
        "{written} updates of 5 records were kept as {queued} for a reader that did not read"
    );
    Ok(())
}

/// Updates every record again and again, 400 times or for four seconds; tells how often.
async fn write_fast(leases: &mut [Box<dyn Lease>], records: &[Instance]) -> Check<u32> {
    let end = Instant::now() + Duration::from_secs(4);
    let mut step = 0;
    while step < 400 && Instant::now() < end {
        step += 1;
        let updates = leases.iter_mut().zip(records).map(|(lease, record)| {
            let record = stepped(record, step);
            async move { lease.update(&record).await }
        });
        for updated in join_all(updates).await {
            updated?;
        }
        tokio::task::yield_now().await;
    }
    Ok(step)
}

fn upserts(events: &[Event]) -> usize {
    let changes = events.iter().filter_map(|event| match event {
        Event::Changed(changes) => Some(changes),
        _ => None,
    });
    let upserts = changes
        .flatten()
        .filter(|change| matches!(change, Change::Upsert(_)));
    upserts.count()
}

async fn a_dropped_watcher_frees_what_it_held(cx: &Context) -> Check {
    let stock = cx.stock(&instances("orders", 3)?).await?;
    eventually(&*stock.registry, &service("orders")?, MARGIN, |_| None).await?;
    let inner = cx.clone();
    // A runtime of its own, where nobody else's tasks are counted.
    let counted = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Stop::Failed(format!("no runtime: {error}")))?;
        runtime.block_on(watchers_come_and_go(&inner))
    });
    match counted.await {
        Ok(check) => check,
        Err(error) => Err(Stop::Failed(format!("the counting thread died: {error}"))),
    }
}

async fn watchers_come_and_go(cx: &Context) -> Check {
    let registry: Arc<dyn Registry> = cx.open().await?;
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    come_and_go(cx, &*registry, 4).await?;
    sleep(Duration::from_millis(500)).await;
    let before = alive();
    come_and_go(cx, &*registry, 300).await?;
    let start = Instant::now();
    while alive() > before {
        ensure!(
            start.elapsed() < Duration::from_secs(1),
            "one second after 300 watchers were dropped there are {} tasks, {before} before them",
            alive()
        );
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn come_and_go(cx: &Context, registry: &dyn Registry, count: usize) -> Check {
    for number in 0..count {
        let scope = match number % 2 {
            0 => WatchScope::All,
            _ => WatchScope::Service(service("orders")?),
        };
        if number % 3 == 0 {
            // Dropped before it has said anything.
            drop(registry.watch(scope).await?);
        } else {
            let probe = Probe::open(registry, scope, cx.told_within()).await?;
            ensure!(
                probe.state().len() == 3,
                "a watch began with {:?}",
                probe.state()
            );
        }
    }
    Ok(())
}
