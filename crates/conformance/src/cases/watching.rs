//! What watchers are told.

use std::time::Duration;

use futures_util::future::join_all;
use waypost_core::{Event, Instance, Lease, WatchScope};

use super::table;
use crate::check::{Check, Stop, ensure, exactly};
use crate::context::{Context, instance, instances, moved, service, step_of, stepped};
use crate::probe::Probe;

table! {
    first_event_is_a_snapshot ["W2"]
        "A watch begins with all there is, whatever its scope, and so does each one after it."
    an_empty_snapshot_is_authoritative ["S3"]
        "A watch of what does not exist begins with an empty snapshot, at once."
    a_watch_of_one_service_tells_of_no_other []
        "A watch of one service tells of all its nodes and of no other service."
    a_watch_of_all_tells_of_every_service []
        "A watch of all tells of services that come into being after it, and of their end."
    every_change_of_a_batch_arrives ["W2"]
        "However many records change at once, each change arrives."
    a_batch_arrives_in_one_change ["W2", "S6"]
        "What the backend changes in one step is told in one `Changed`."
    changes_of_a_record_keep_their_order ["W2"]
        "No watcher sees a record go back to older content."
}

async fn first_event_is_a_snapshot(cx: &Context) -> Check {
    let registry = cx.open().await?;
    let scopes = || Ok::<_, Stop>([WatchScope::All, service("orders")?.into()]);
    for scope in scopes()? {
        let probe = Probe::open(&*registry, scope, cx.told_within()).await?;
        ensure!(
            probe.state().is_empty(),
            "nobody registered; the snapshot has {:?}",
            probe.state()
        );
    }
    let all = instances("orders", 3)?;
    let _stock = cx.stock(&all).await?;
    for scope in scopes()?.into_iter().chain(scopes()?) {
        let registry = cx.open().await?;
        let probe = Probe::open(&*registry, scope.clone(), cx.told_within()).await?;
        if let Some(fault) = exactly(&all)(&probe.records()) {
            return Err(Stop::Failed(format!(
                "{fault}; the snapshot of a watch of {scope} has {:?}",
                probe.records()
            )));
        }
    }
    Ok(())
}

async fn an_empty_snapshot_is_authoritative(cx: &Context) -> Check {
    let stock = cx.stock(&instances("orders", 1)?).await?;
    let scope = WatchScope::Service(service("unheard-of")?);
    let mut probe = Probe::open(&*stock.registry, scope, cx.told_within()).await?;
    ensure!(
        probe.state().is_empty(),
        "an unknown service has {:?}",
        probe.state()
    );
    let event = probe.news(Duration::from_millis(300)).await?;
    ensure!(
        event.is_none(),
        "of an unknown service a watcher was told {event:?}"
    );
    Ok(())
}

async fn a_watch_of_one_service_tells_of_no_other(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let scope = WatchScope::Service(service("orders")?);
    let mut probe = Probe::open(&*registry, scope, cx.told_within()).await?;
    // Names around the watched one: a prefix of it, a longer one, neighbours in order.
    let mut held = Vec::new();
    for name in ["order", "orders2", "orders-2", "orders.x", "carts", "zebra"] {
        held.push(cx.register(&*registry, &instance(name, 1)?).await?);
    }
    let ours = instances("orders", 2)?;
    for each in &ours {
        held.push(cx.register(&*registry, each).await?);
    }
    // The probe itself fails on a record outside its scope.
    probe.until(cx.told_within(), exactly(&ours)).await?;
    Ok(())
}

async fn a_watch_of_all_tells_of_every_service(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    let all = [
        instance("orders", 1)?,
        instance("carts", 2)?,
        instance("users", 3)?,
    ];
    let mut leases = Vec::new();
    for (count, each) in (1..).zip(&all) {
        leases.push(cx.register(&*writer, each).await?);
        probe
            .until(cx.told_within(), exactly(&all[..count]))
            .await?;
    }
    for (count, lease) in (0..all.len()).rev().zip(leases.into_iter().rev()) {
        lease.revoke().await?;
        probe
            .until(cx.told_within(), exactly(&all[..count]))
            .await?;
    }
    Ok(())
}

async fn every_change_of_a_batch_arrives(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let all = instances("orders", 40)?;
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    // The reader looks away until all have changed, so that they reach it as batches.
    let leases = join_all(all.iter().map(|each| cx.register(&*writer, each))).await;
    let mut leases = leases.into_iter().collect::<Check<Vec<_>>>()?;
    probe.until(cx.told_within(), exactly(&all)).await?;
    let after = all.iter().map(moved).collect::<Check<Vec<_>>>()?;
    let updates = leases
        .iter_mut()
        .zip(&after)
        .map(|(lease, each)| lease.update(each));
    join_all(updates)
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    probe.until(cx.told_within(), exactly(&after)).await?;
    let revokes = leases.into_iter().map(Lease::revoke);
    join_all(revokes)
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    probe.until(cx.told_within(), exactly(&[])).await?;
    Ok(())
}

async fn a_batch_arrives_in_one_change(cx: &Context) -> Check {
    cx.needs_one_step()?;
    let (before, after) = (instances("orders", 20)?, batch()?);
    cx.fill(&before).await?;
    let registry = cx.open().await?;
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    ensure!(
        exactly(&before)(&probe.records()).is_none(),
        "the snapshot has {:?}",
        probe.records()
    );
    cx.fill(&after).await?;
    let event = probe.news(cx.told_within()).await?;
    match &event {
        Some(Event::Changed(changes)) => {
            ensure!(
                changes.len() >= 30,
                "of 30 changes the first event tells {}",
                changes.len()
            );
        }
        Some(Event::Snapshot(_)) => {}
        _ => {
            return Err(Stop::Failed(format!(
                "of a batch of 30 changes came {event:?}"
            )));
        }
    }
    if let Some(fault) = exactly(&after)(&probe.records()) {
        return Err(Stop::Failed(format!(
            "{fault}; after one event of a batch there is half of it"
        )));
    }
    Ok(())
}

/// Of `instances("orders", 20)`: ten gone, ten changed, ten new.
fn batch() -> Check<Vec<Instance>> {
    let changed = (10..20).map(|number| moved(&instance("orders", number)?));
    changed
        .chain((20..30).map(|number| instance("orders", number)))
        .collect()
}

async fn changes_of_a_record_keep_their_order(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    let first = instance("orders", 1)?;
    let mut lease = cx.register(&*writer, &first).await?;
    let writing = async {
        for step in 1..=100 {
            lease.update(&stepped(&first, step)).await?;
        }
        Ok::<_, Stop>(())
    };
    let reading = async {
        let mut last = 0;
        while last < 100 {
            let event = probe.news(cx.told_within()).await?;
            ensure!(
                event.is_some(),
                "step 100 was written; the watch stopped at {last}"
            );
            for record in probe.state().values() {
                let step = step_of(record);
                ensure!(
                    step >= last,
                    "after step {last} a watcher was told step {step}"
                );
                last = step;
            }
        }
        Ok::<_, Stop>(())
    };
    let (written, read) = tokio::join!(writing, reading);
    written.and(read)
}
