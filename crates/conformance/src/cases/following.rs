//! What the house's directory owes to a caller, over this registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, ErrorKind, Instance, NodeId};

use super::table;
use crate::check::{Check, PACE, ensure, exactly, listed};
use crate::context::{Context, MARGIN, instance, instances, moved, service};
use crate::faults::{Fault, Faulty, Switch};
use crate::kept::Kept;
use crate::reader::{BACKOFF, Reader, is_stale, live, options, reader};

table! {
    a_removal_takes_effect_at_once ["S3"]
        "While all is well a removed node is out of the readers' sight at once."
    a_sudden_shrink_keeps_a_fallback ["S4"]
        "When most nodes leave within the window, they stay as a fallback behind the live ones."
    a_mass_departure_leaves_somebody_to_call ["S4", "S5"]
        "When every node leaves, one at a time, there is still somebody to try, until the window ends."
    a_reader_never_sees_half_an_update ["S6"]
        "Readers see the set before a change or the set after it."
    a_hundred_first_readers_are_one_watch ["S6"]
        "However many ask for a service at once, the registry is asked once."
    an_unknown_service_is_remembered ["S6"]
        "Asking for what does not exist, again and again, does not reach the registry again."
    a_dropped_directory_ends_its_watches ["W6"]
        "When nobody holds a directory and what it follows, its watches end."
    a_directory_agrees_with_a_fresh_read ["W1"]
        "After any changes the directory has what a fresh list has."
}

async fn a_removal_takes_effect_at_once(cx: &Context) -> Check {
    cx.needs_writing()?;
    let records = instances("orders", 3)?;
    let mut reader = reader(cx, &records, options()).await?;
    reader.take(0).await?.revoke().await?;
    reader
        .knows(cx.told_within(), exactly(&records[1..]))
        .await?;
    drop(reader.take(0).await?);
    reader.stock.registry.deregister(&records[1].key()).await?;
    reader.knows(cx.told_within(), exactly(&records[2..])).await
}

fn ids<'a>(instances: impl Iterator<Item = &'a Arc<Instance>>) -> BTreeSet<NodeId> {
    instances.map(|instance| instance.node.id.clone()).collect()
}

async fn a_sudden_shrink_keeps_a_fallback(cx: &Context) -> Check {
    cx.needs_writing()?;
    let records = instances("orders", 7)?;
    let window = cx.told_within() + Duration::from_secs(4);
    let mut reader = reader(cx, &records, options().with_guard_window(window)).await?;
    for _ in 0..6 {
        reader.take(0).await?.revoke().await?;
    }
    reader
        .knows(cx.told_within(), exactly(&records[6..]))
        .await?;
    let members = reader.followed.members();
    let fallback = ids(members.fallback());
    ensure!(
        fallback.len() == 6,
        "six of seven left within {window:?}; the fallback is {fallback:?}"
    );
    let first = members.candidates().next().map(|instance| instance.key());
    ensure!(
        first == Some(records[6].key()),
        "the first to be tried is {first:?}, not the live one"
    );
    // Who comes back is live and no longer a fallback.
    let _back = Kept::start(cx.register(&*reader.stock.registry, &records[0]).await?);
    let back = [records[0].clone(), records[6].clone()];
    reader.knows(cx.told_within(), exactly(&back)).await?;
    let fallback = ids(reader.followed.members().fallback());
    ensure!(
        !fallback.contains(&records[0].node.id),
        "{} is live and a fallback",
        records[0].key()
    );
    no_fallback(&reader, window).await
}

async fn a_mass_departure_leaves_somebody_to_call(cx: &Context) -> Check {
    cx.needs_writing()?;
    let records = instances("orders", 4)?;
    let window = cx.told_within() + Duration::from_secs(4);
    let mut reader = reader(cx, &records, options().with_guard_window(window)).await?;
    for left in (0..4).rev() {
        reader.take(0).await?.revoke().await?;
        reader
            .knows(cx.told_within(), exactly(&records[4 - left..]))
            .await?;
        let members = reader.followed.members();
        ensure!(
            members.candidates().next().is_some() && !members.is_empty(),
            "{left} of 4 are left, and there is nobody to try"
        );
    }
    no_fallback(&reader, window).await
}

async fn no_fallback(reader: &Reader, window: Duration) -> Check {
    let start = Instant::now();
    while reader.followed.members().fallback().next().is_some() {
        let bound = window + MARGIN;
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after the last departure the fallback is still {:?}",
            ids(reader.followed.members().fallback())
        );
        sleep(PACE).await;
    }
    Ok(())
}

async fn a_reader_never_sees_half_an_update(cx: &Context) -> Check {
    cx.needs_writing()?;
    let before = instances("orders", 20)?;
    let reader = reader(cx, &before, options()).await?;
    // The change reaches the directory in one step: while it has no watch.
    reader.switch.fail(Fault::Fail(ErrorKind::Unavailable));
    reader.fresh(cx.told_within(), is_stale).await?;
    let after = before.iter().map(moved).collect::<Check<Vec<_>>>()?;
    let mut kept = Vec::new();
    for record in &after {
        kept.push(Kept::start(
            cx.register(&*reader.stock.registry, record).await?,
        ));
    }
    reader.switch.heal();
    let start = Instant::now();
    loop {
        let seen = live(&reader.followed);
        if exactly(&after)(&seen).is_none() {
            return Ok(());
        }
        ensure!(
            exactly(&before)(&seen).is_none(),
            "a reader saw neither set, but {}",
            listed(&seen)
        );
        let bound = BACKOFF + cx.told_within();
        ensure!(
            start.elapsed() < bound,
            "after {bound:?} readers still have the set before"
        );
        tokio::task::yield_now().await;
        if seen.len() == before.len() {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn a_hundred_first_readers_are_one_watch(cx: &Context) -> Check {
    let records = instances("orders", 3)?;
    let _stock = cx.stock(&records).await?;
    let (registry, switch) = Faulty::over(cx.open().await?);
    let directory = Directory::new(registry, options());
    let orders = service("orders")?;
    let readers = join_all((0..100).map(|_| directory.follow(orders.clone()))).await;
    for followed in readers {
        let seen = live(&followed?);
        ensure!(
            exactly(&records)(&seen).is_none(),
            "one of the readers has {}",
            listed(&seen)
        );
    }
    asked_once(&switch, "a hundred first readers")
}

fn asked_once(switch: &Switch, who: &str) -> Check {
    let (watches, all) = (switch.count("watch"), switch.calls().len());
    ensure!(
        watches == 1 && all == 1,
        "{who} made {watches} watches and {all} calls, not one"
    );
    Ok(())
}

async fn an_unknown_service_is_remembered(cx: &Context) -> Check {
    let _stock = cx.stock(&instances("orders", 1)?).await?;
    let (registry, switch) = Faulty::over(cx.open().await?);
    let directory = Directory::new(registry, options());
    for _ in 0..100 {
        let followed = directory.follow(service("unheard-of")?).await?;
        ensure!(
            followed.members().is_empty(),
            "an unknown service has {:?}",
            live(&followed)
        );
        sleep(Duration::from_millis(5)).await;
    }
    asked_once(&switch, "a hundred readers of an unknown service")
}

async fn a_dropped_directory_ends_its_watches(cx: &Context) -> Check {
    let reader = reader(cx, &instances("orders", 1)?, options()).await?;
    for name in ["carts", "users", "unheard-of"] {
        reader.directory.follow(service(name)?).await?;
    }
    let open = reader.switch.open_watches();
    ensure!(
        open == 4,
        "four services are followed through {open} watches"
    );
    let Reader {
        directory,
        followed,
        switch,
        ..
    } = reader;
    drop(directory);
    drop(followed);
    let start = Instant::now();
    while switch.open_watches() > 0 {
        ensure!(
            start.elapsed() < Duration::from_secs(1),
            "one second after the directory was dropped {} watches are open",
            switch.open_watches()
        );
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn a_directory_agrees_with_a_fresh_read(cx: &Context) -> Check {
    cx.needs_writing()?;
    let mut reader = reader(cx, &instances("orders", 6)?, options()).await?;
    for number in 6..18 {
        let record = instance("orders", number)?;
        let lease = cx.register(&*reader.stock.registry, &record).await?;
        reader.stock.kept.push(Kept::start(lease));
        let gone = fastrand::usize(..reader.stock.kept.len());
        let lease = reader.take(gone).await?;
        lease.revoke().await?;
    }
    let start = Instant::now();
    loop {
        let drifts = reader.followed.verify().await?;
        if drifts.is_empty() {
            return Ok(());
        }
        let bound = cx.told_within();
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after the last change: {drifts:?}"
        );
    }
}
