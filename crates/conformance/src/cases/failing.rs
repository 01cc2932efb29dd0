//! What the house's directory owes to a caller when this registry fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{
    Directory, DirectoryOptions, Error, ErrorKind, Followed, Instance, Registration,
    RegistrationOptions, Registry,
};

use super::table;
use crate::Cut;
use crate::check::{Check, PACE, Stop, ensure, exactly, listed};
use crate::context::{Context, MARGIN, instance, instances, moved, service};
use crate::faults::{Fault, Faulty};
use crate::kept::Kept;
use crate::reader::{BACKOFF, OPENING, Reader, is_fresh, is_stale, live, options, reader};

/// Every way in which a registry fails.
const FAULTS: [Fault; 12] = [
    Fault::Fail(ErrorKind::Config),
    Fault::Fail(ErrorKind::Unsupported),
    Fault::Fail(ErrorKind::NotFound),
    Fault::Fail(ErrorKind::LeaseLost),
    Fault::Fail(ErrorKind::Denied),
    Fault::Fail(ErrorKind::Unavailable),
    Fault::Fail(ErrorKind::Timeout),
    Fault::Fail(ErrorKind::Throttled),
    Fault::Fail(ErrorKind::Corrupt),
    Fault::Fail(ErrorKind::Closed),
    Fault::Fail(ErrorKind::Internal),
    Fault::Hang,
];

table! {
    a_dead_registry_empties_nothing ["S1"]
        "Whatever a registry answers, and while it does not, readers have what was known."
    nothing_missed_stays_missed ["W1", "W3", "S1"]
        "What happened while the directory had no watch, removals included, is made good."
    a_silent_watch_does_not_pass_for_a_living_one ["W4"]
        "The age of the last confirmation is told, and a watch that fell silent is replaced."
    a_cold_start_with_a_dead_registry_says_so ["S2"]
        "A first reader without a registry has a clear error within the connect timeout."
    a_cold_start_serves_what_disk_remembers ["S2"]
        "With a copy on disk a first reader is served though the registry is down."
    a_pulled_plug_heals_by_itself ["L1", "W1", "S1"]
        "A backend that goes away and comes back is found again, and no reader saw an empty set."
}

async fn a_dead_registry_empties_nothing(cx: &Context) -> Check {
    let records = instances("orders", 3)?;
    let _stock = cx.stock(&records).await?;
    let outcomes = FAULTS.map(|fault| fails_static(cx, &records, fault));
    join_all(outcomes).await.into_iter().collect()
}

async fn fails_static(cx: &Context, records: &[Instance], fault: Fault) -> Check {
    let (registry, switch) = Faulty::over(cx.open().await?);
    let followed = Directory::new(registry, options())
        .follow(service("orders")?)
        .await?;
    switch.fail(fault);
    let start = Instant::now();
    while start.elapsed() < cx.ttl() * 2 {
        let asked = Instant::now();
        let seen = live(&followed);
        ensure!(
            exactly(records)(&seen).is_none(),
            "under {fault:?} a reader has {}",
            listed(&seen)
        );
        ensure!(
            asked.elapsed() < MARGIN / 10,
            "under {fault:?} reading took {:?}",
            asked.elapsed()
        );
        sleep(PACE).await;
    }
    // A registry that hangs is not told from a quiet one before the next relist.
    if fault != Fault::Hang {
        ensure!(
            is_stale(followed.freshness()),
            "under {fault:?} it is {:?}",
            followed.freshness()
        );
        ensure!(
            followed.error().is_some(),
            "under {fault:?} no cause is told"
        );
    }
    switch.heal();
    heals(&followed, fault).await
}

async fn heals(followed: &Followed, fault: Fault) -> Check {
    let (bound, start) = (BACKOFF + MARGIN, Instant::now());
    while !is_fresh(followed.freshness()) {
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after {fault:?} it is {:?}",
            followed.freshness()
        );
        sleep(PACE).await;
    }
    Ok(())
}

async fn nothing_missed_stays_missed(cx: &Context) -> Check {
    cx.needs_writing()?;
    let records = instances("orders", 4)?;
    let mut reader = reader(cx, &records, options()).await?;
    reader.switch.fail(Fault::Fail(ErrorKind::Unavailable));
    reader.fresh(cx.told_within(), is_stale).await?;
    reader.take(0).await?.revoke().await?;
    let changed = moved(&records[1])?;
    let mut lease = reader.take(0).await?;
    lease.update(&changed).await?;
    let _changed = Kept::start(lease);
    let new = instance("orders", 9)?;
    let _new = Kept::start(cx.register(&*reader.stock.registry, &new).await?);
    ensure!(
        exactly(&records)(&live(&reader.followed)).is_none(),
        "without a watch the directory went over to {}",
        listed(&live(&reader.followed))
    );
    reader.switch.heal();
    let truth = [changed, records[2].clone(), records[3].clone(), new];
    reader
        .knows(BACKOFF + cx.told_within(), exactly(&truth))
        .await?;
    reader.fresh(MARGIN, is_fresh).await
}

async fn a_silent_watch_does_not_pass_for_a_living_one(cx: &Context) -> Check {
    let relist = Duration::from_secs(1);
    let reader = reader(cx, &instances("orders", 2)?, options().with_relist(relist)).await?;
    sleep(relist * 3).await;
    let age = |reader: &Reader| reader.followed.confirmed().map(|at| at.elapsed());
    let young = age(&reader);
    ensure!(
        young.is_some_and(|age| age < relist * 2 + MARGIN),
        "with a relist every {relist:?} the last confirmation is {young:?} old"
    );
    reader.switch.fail(Fault::Hang);
    // A relist that does not answer is how silence is found out.
    reader
        .fresh(relist * 2 + OPENING + MARGIN, is_stale)
        .await?;
    let old = age(&reader);
    ensure!(
        old.is_some_and(|age| age >= OPENING / 2),
        "nothing was heard for {OPENING:?}, and the last confirmation is said to be {old:?} old"
    );
    ensure!(
        reader.followed.members().len() == 2,
        "silence emptied the directory"
    );
    reader.switch.heal();
    reader.fresh(BACKOFF + MARGIN, is_fresh).await
}

async fn a_cold_start_with_a_dead_registry_says_so(cx: &Context) -> Check {
    let records = instances("orders", 1)?;
    let _stock = cx.stock(&records).await?;
    let outcomes = FAULTS.map(|fault| cold_start(cx, fault));
    join_all(outcomes).await.into_iter().collect()
}

async fn cold_start(cx: &Context, fault: Fault) -> Check {
    let patience = Duration::from_secs(1);
    let (registry, switch) = Faulty::over(cx.open().await?);
    switch.fail(fault);
    let directory = Directory::new(
        registry,
        DirectoryOptions::new().with_connect_timeout(patience),
    );
    let orders = service("orders")?;
    let start = Instant::now();
    let told = timeout(patience + MARGIN, directory.follow(orders.clone())).await;
    let Ok(Err(error)) = told else {
        return Err(Stop::Failed(format!(
            "a first reader under {fault:?} has after {:?} {told:?}, not an error",
            start.elapsed()
        )));
    };
    says_so(cx, fault, &error)?;
    switch.heal();
    let start = Instant::now();
    while let Err(error) = directory.follow(orders.clone()).await {
        let bound = BACKOFF + MARGIN;
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after {fault:?} a first reader is told {error:?}"
        );
        sleep(PACE).await;
    }
    Ok(())
}

/// The error names what was asked for, of whom, and is of a kind that a caller can act on.
fn says_so(cx: &Context, fault: Fault, error: &Error) -> Check {
    let expected = match fault {
        Fault::Fail(kind) if !kind.is_transient() => kind,
        _ => ErrorKind::Unavailable,
    };
    ensure!(
        error.kind() == expected,
        "under {fault:?} a first reader is told {error:?}"
    );
    let text = error.chain();
    ensure!(
        text.contains("orders") && text.contains(cx.profile().driver),
        "the error names neither the service nor the registry: {text:?}"
    );
    Ok(())
}

async fn a_cold_start_serves_what_disk_remembers(cx: &Context) -> Check {
    let folder = std::env::temp_dir().join(cx.namespace());
    let outcome = disk_remembers(cx, &folder).await;
    // Nobody reads it any more; what cannot be removed is in the temporary directory.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

async fn disk_remembers(cx: &Context, folder: &Path) -> Check {
    let records = instances("orders", 3)?;
    let warm = reader(cx, &records, options().with_disk(folder)).await?;
    let written = |folder: &Path| {
        std::fs::read_dir(folder).is_ok_and(|mut files| {
            files.any(|file| {
                file.is_ok_and(|file| file.file_name().to_string_lossy().ends_with(".json"))
            })
        })
    };
    let start = Instant::now();
    while !written(folder) {
        ensure!(
            start.elapsed() < MARGIN * 2,
            "no copy on disk after {:?}",
            start.elapsed()
        );
        sleep(PACE).await;
    }
    drop(warm.directory);
    let (registry, switch) = Faulty::over(cx.open().await?);
    switch.fail(Fault::Fail(ErrorKind::Unavailable));
    let directory = Directory::new(registry, options().with_disk(folder));
    let cold = directory.follow(service("orders")?).await?;
    let seen = live(&cold);
    ensure!(
        exactly(&records)(&seen).is_none(),
        "from disk a reader has {}",
        listed(&seen)
    );
    ensure!(
        is_stale(cold.freshness()),
        "what disk remembers is told to be {:?}",
        cold.freshness()
    );
    Ok(())
}

async fn a_pulled_plug_heals_by_itself(cx: &Context) -> Check {
    cx.needs_writing()?;
    let record = instance("orders", 1)?;
    let options = RegistrationOptions::new().with_ttl(cx.ttl());
    let registration = Registration::start(cx.open().await?, record.clone(), options)?;
    registration.live().await?;
    let directory = Directory::new(cx.open().await?, self::options());
    let followed = directory.follow(service("orders")?).await?;
    ensure!(
        followed.members().len() == 1,
        "before the cut there is {}",
        listed(&live(&followed))
    );
    cx.cut(Cut::Refuse).await?;
    let held = holds(&followed, cx.ttl() * 3).await;
    cx.mend().await?;
    held?;
    let observer: Arc<dyn Registry> = cx.open().await?;
    let bound = cx.ttl() / 3 + BACKOFF * 2 + MARGIN;
    let start = Instant::now();
    loop {
        let seen = timeout(MARGIN, observer.lookup(&record.service)).await;
        let there = matches!(&seen, Ok(Ok(seen)) if *seen == [record.clone()]);
        if there && is_fresh(followed.freshness()) && live(&followed) == [record.clone()] {
            return Ok(());
        }
        ensure!(
            start.elapsed() < bound,
            "{bound:?} after the plug is back a fresh read has {seen:?}, the directory {} ({:?}, {:?}), the registration {:?}",
            listed(&live(&followed)),
            followed.freshness(),
            followed.error(),
            *registration.standing().borrow()
        );
        sleep(PACE).await;
    }
}

async fn holds(followed: &Followed, span: Duration) -> Check {
    let start = Instant::now();
    while start.elapsed() < span {
        ensure!(
            followed.members().len() == 1,
            "{:?} into the cut readers have nobody",
            start.elapsed()
        );
        sleep(PACE).await;
    }
    Ok(())
}
