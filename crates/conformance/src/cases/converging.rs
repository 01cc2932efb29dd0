//! That watchers end up with the truth.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use waypost_core::{Event, Instance, InstanceKey, Lease, Registry, WatchScope};

use super::table;
use crate::Cut;
use crate::check::{Check, PACE, Stop, ensure, exactly, listed};
use crate::context::{Context, MARGIN, instance, instances, moved, service, stepped};
use crate::kept::Kept;
use crate::probe::{Probe, Told};

table! {
    no_change_is_lost_between_snapshot_and_stream ["W2"]
        "A watch that starts in the middle of changes misses none of them."
    a_watcher_converges_on_a_fresh_read ["W1"]
        "Five seconds after the last change every watcher knows what a fresh read gives."
    a_new_watch_makes_good_what_was_missed ["W3"]
        "What happened between two watches, removals included, is in the second one's snapshot."
    an_error_ends_a_watch_and_nothing_stays_missed ["W3", "L1"]
        "A watch that lost its backend ends with an error or goes on without a gap."
    a_silent_backend_is_noticed ["W4"]
        "A watch behind which everything fell silent does not pretend to be alive."
}

/// Changes twelve records in random ways until `end`; gives back the leases that are left.
async fn churn(cx: &Context, end: Instant) -> Check<BTreeMap<InstanceKey, Box<dyn Lease>>> {
    let writer = cx.open().await?;
    let mut leases: BTreeMap<InstanceKey, Box<dyn Lease>> = BTreeMap::new();
    let mut step = 0;
    while Instant::now() < end {
        step += 1;
        let record = stepped(&instance("orders", fastrand::u32(..12))?, step);
        match (leases.remove(&record.key()), fastrand::u8(..3)) {
            (Some(lease), 0) => lease.revoke().await?,
            (Some(mut lease), 1) => {
                lease.update(&record).await?;
                leases.insert(record.key(), lease);
            }
            _ => {
                leases.insert(record.key(), cx.register(&*writer, &record).await?);
            }
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(leases)
}

async fn no_change_is_lost_between_snapshot_and_stream(cx: &Context) -> Check {
    cx.needs_writing()?;
    let end = Instant::now() + cx.ttl() / 2;
    let watchers = async {
        let registry = cx.open().await?;
        let mut probes = Vec::new();
        while Instant::now() < end {
            probes.push(Probe::open(&*registry, WatchScope::All, cx.told_within()).await?);
            sleep(Duration::from_millis(fastrand::u64(5..60))).await;
        }
        Ok::<_, Stop>(probes)
    };
    let (leases, probes) = tokio::join!(churn(cx, end), watchers);
    let _kept: Vec<_> = leases?.into_values().map(Kept::start).collect();
    let truth = cx.open().await?.lookup(&service("orders")?).await?;
    let probes = probes?;
    ensure!(
        !probes.is_empty(),
        "no watch was started in {:?}",
        cx.ttl() / 2
    );
    for mut probe in probes {
        probe.until(cx.told_within(), exactly(&truth)).await?;
    }
    Ok(())
}

async fn a_watcher_converges_on_a_fresh_read(cx: &Context) -> Check {
    cx.needs_writing()?;
    let watcher = cx.open().await?;
    let orders = service("orders")?;
    let mut all = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    let mut one = Probe::open(&*watcher, orders.clone().into(), cx.told_within()).await?;
    let leases = churn(cx, Instant::now() + cx.ttl() * 2).await?;
    let last = Instant::now();
    let _kept: Vec<_> = leases.into_values().map(Kept::start).collect();
    let truth = watcher.lookup(&orders).await?;
    let bound = Duration::from_secs(5) + MARGIN;
    all.until(bound, exactly(&truth)).await?;
    one.until(bound.saturating_sub(last.elapsed()), exactly(&truth))
        .await?;
    Ok(())
}

async fn a_new_watch_makes_good_what_was_missed(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let all = instances("orders", 4)?;
    let mut leases = Vec::new();
    for each in &all {
        leases.push(cx.register(&*writer, each).await?);
    }
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    probe.until(cx.told_within(), exactly(&all)).await?;
    drop(probe);
    // While nobody watches: one revoked, one deregistered, one changed, one new.
    let mut kept = leases.split_off(2);
    if let Some(lease) = leases.pop() {
        lease.revoke().await?;
    }
    writer.deregister(&all[0].key()).await?;
    let changed = moved(&all[2])?;
    kept[0].update(&changed).await?;
    let new = instance("orders", 9)?;
    let _new = cx.register(&*writer, &new).await?;
    let probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    match exactly(&[changed, all[3].clone(), new])(&probe.records()) {
        None => Ok(()),
        Some(fault) => Err(Stop::Failed(format!(
            "{fault}; the snapshot of the second watch has {:?}",
            probe.records()
        ))),
    }
}

async fn an_error_ends_a_watch_and_nothing_stays_missed(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (writer, watcher) = (cx.open().await?, cx.open().await?);
    let all = instances("orders", 2)?;
    let _going = cx.register(&*writer, &all[0]).await?;
    let mut lease = cx.register(&*writer, &all[1]).await?;
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    cx.cut(Cut::Refuse).await?;
    let told = probe.next(cx.ttl() / 2).await;
    cx.mend().await?;
    writer_is_back(cx, &*writer, &mut lease, &all[1]).await?;
    writer.deregister(&all[0].key()).await?;
    match told? {
        Told::Ended(_) => probe = reopened(cx, &*watcher).await?,
        Told::Event(Event::Snapshot(now)) if now.is_empty() => {
            return Err(Stop::failed(
                "a watch whose backend went away told of an empty snapshot",
            ));
        }
        Told::Event(_) | Told::Nothing => {}
    }
    let truth = watcher.lookup(&service("orders")?).await?;
    while exactly(&truth)(&probe.records()).is_some() {
        match probe.next(MARGIN + cx.told_within()).await? {
            Told::Ended(_) => probe = reopened(cx, &*watcher).await?,
            Told::Event(_) => {}
            Told::Nothing => {
                return Err(Stop::Failed(format!(
                    "after the backend was back a fresh read has {}, and the watch stays at {}",
                    listed(&truth),
                    listed(&probe.records())
                )));
            }
        }
    }
    Ok(())
}

/// Watches anew as the directory would: until it works.
async fn reopened(cx: &Context, watcher: &dyn Registry) -> Check<Probe> {
    let bound = MARGIN + cx.told_within();
    let start = Instant::now();
    loop {
        match Probe::open(watcher, WatchScope::All, bound).await {
            Err(_) if start.elapsed() < bound => sleep(PACE).await,
            opened => return opened,
        }
    }
}

/// Waits until the backend takes the lease's renewals again, or the record anew.
async fn writer_is_back(
    cx: &Context,
    writer: &dyn Registry,
    lease: &mut Box<dyn Lease>,
    record: &Instance,
) -> Check {
    let bound = cx.gone_within(cx.ttl());
    let start = Instant::now();
    loop {
        let renewed = timeout(MARGIN, lease.renew()).await;
        if matches!(renewed, Ok(Ok(()))) {
            return Ok(());
        }
        if let Ok(Ok(anew)) = timeout(MARGIN, writer.register(record, cx.patient())).await {
            *lease = anew;
            return Ok(());
        }
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after the backend came back neither renewing nor registering works: {renewed:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

async fn a_silent_backend_is_noticed(cx: &Context) -> Check {
    // Pings every 6 s and 3 s for their answer.
    let bound = Duration::from_secs(9) + MARGIN;
    let _stock = cx.stock(&instances("orders", 1)?).await?;
    let watcher = cx.open().await?;
    let mut probe = Probe::open(&*watcher, WatchScope::All, cx.told_within()).await?;
    cx.cut(Cut::Silence).await?;
    let start = Instant::now();
    let noticed = loop {
        let left = bound.saturating_sub(start.elapsed());
        match probe.next(left).await {
            Ok(Told::Ended(_)) => break Ok(()),
            // What was on its way when the line fell silent.
            Ok(Told::Event(_)) if start.elapsed() < MARGIN => {}
            Ok(told) => {
                break Err(Stop::Failed(format!(
                    "nothing passes for {:?}, and the watch told {told:?}; expected its end within {bound:?}",
                    start.elapsed()
                )));
            }
            Err(stop) => break Err(stop),
        }
    };
    cx.mend().await?;
    noticed
}
