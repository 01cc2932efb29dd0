//! How long a record lives.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{ErrorKind, Instance, Lease, RegisterOptions, Registry, WatchScope};

use super::table;
use crate::check::{Check, Stop, always, ensure, eventually, exactly, only};
use crate::context::{Context, MARGIN, instance, instances, service};
use crate::kept::Kept;
use crate::probe::Probe;

table! {
    killed_owner_vanishes_after_ttl ["L2"]
        "The record of an owner that died goes within the granted ttl and the backend's slack."
    a_dropped_lease_leaves_nothing_past_its_ttl ["L2"]
        "A dropped lease leaves nothing that outlives the ttl, though its client lives on."
    a_dropped_register_leaves_nothing_past_its_ttl ["L2"]
        "A `register` that is dropped at any moment leaves nothing that outlives the ttl."
    a_renewed_record_is_never_absent ["L3"]
        "A record that is renewed is there in every read, for many ttls."
    an_unrenewed_record_is_kept_for_its_ttl ["L3"]
        "A record is not removed before its ttl has passed, though a renewal is late."
    a_record_without_owner_is_kept_for_its_ttl []
        "Where records are not owned by a process, one outlives its writer until the ttl."
    revoke_is_final ["L6"]
        "A revoked record is gone at once, and nothing brings it back."
    deregister_takes_anyones_record []
        "Deregistering removes a record whoever owns it, and succeeds when there is none."
    a_loss_is_told ["L1"]
        "A lease whose record was removed behind its back says so, where the backend can tell."
    a_living_lease_is_not_lost ["L3"]
        "A lease that is renewed never says that it is lost."
    an_expired_lease_is_lost []
        "Renewing what the backend has removed is `LeaseLost`, and brings nothing back."
}

fn empty() -> impl Fn(&[Instance]) -> Option<String> {
    |seen| (!seen.is_empty()).then(|| "expected nothing".to_owned())
}

async fn killed_owner_vanishes_after_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let mut probe = Probe::open(&*observer, WatchScope::All, cx.told_within()).await?;
    let mut lease = cx.register_briefly(&*owner, &wanted).await?;
    probe.until(cx.told_within(), only(&wanted)).await?;
    lease.renew().await?;
    let bound = cx.gone_within(lease.ttl());
    drop(lease);
    drop(owner);
    eventually(&*observer, &wanted.service, bound, empty()).await?;
    probe.until(cx.told_within(), empty()).await?;
    let services = observer.services().await?;
    ensure!(
        services.is_empty(),
        "the dead service is still listed: {services:?}"
    );
    Ok(())
}

async fn a_dropped_lease_leaves_nothing_past_its_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let all = instances("orders", 2)?;
    let dropped = cx.register_briefly(&*registry, &all[0]).await?;
    let _other = Kept::start(cx.register(&*registry, &all[1]).await?);
    let bound = cx.gone_within(dropped.ttl());
    drop(dropped);
    eventually(&*registry, &service("orders")?, bound, exactly(&all[1..])).await?;
    Ok(())
}

async fn a_dropped_register_leaves_nothing_past_its_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    // A connection that is not there yet would be all that the dropped calls ever see.
    registry.services().await?;
    let mut granted = cx.ttl();
    for number in 0..24 {
        let wanted = instance("orders", number)?;
        if let Some(ttl) = dropped_register(cx, &*registry, &wanted, number).await? {
            granted = granted.max(ttl);
        }
    }
    let bound = cx.gone_within(granted);
    eventually(&*registry, &service("orders")?, bound, empty()).await?;
    // What a task left behind would write once more shows within another ttl.
    always(&*registry, &service("orders")?, cx.ttl() / 2, empty()).await
}

/// Starts a `register` and drops it: the first eight after as many polls, the rest after a while.
async fn dropped_register(
    cx: &Context,
    registry: &dyn Registry,
    wanted: &Instance,
    number: u32,
) -> Check<Option<Duration>> {
    let mut register = pin!(registry.register(wanted, cx.brief()));
    let lease = if number < 8 {
        let mut polls = 0;
        poll_fn(|context| match register.poll_unpin(context) {
            Poll::Ready(lease) => Poll::Ready(Some(lease)),
            Poll::Pending if polls >= number => Poll::Ready(None),
            Poll::Pending => {
                polls += 1;
                Poll::Pending
            }
        })
        .await
    } else {
        let patience = Duration::from_micros(1 << (number - 8));
        timeout(patience.min(Duration::from_millis(20)), register)
            .await
            .ok()
    };
    Ok(lease.transpose()?.map(|lease| lease.ttl()))
}

async fn a_renewed_record_is_never_absent(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let options = RegisterOptions::new(cx.ttl() * 2);
    let lease = owner.register(&wanted, options).await?;
    let span = lease.ttl() * 2 + cx.profile().slack;
    let kept = Kept::start(lease);
    let mut probe = Probe::open(&*observer, WatchScope::All, cx.told_within()).await?;
    always(&*observer, &wanted.service, span, only(&wanted)).await?;
    let events = probe.drain(Duration::from_millis(100), MARGIN).await?;
    ensure!(
        events.is_empty(),
        "a watcher was told {events:?} of a record that never changed"
    );
    kept.stop().await?;
    Ok(())
}

async fn an_unrenewed_record_is_kept_for_its_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    for _ in 0..2 {
        let since = Instant::now();
        let lease = cx.register_briefly(&*owner, &wanted).await?;
        let early = lease.ttl().mul_f64(0.7);
        while since.elapsed() < early {
            let seen = observer.lookup(&wanted.service).await?;
            ensure!(
                seen == [wanted.clone()] || since.elapsed() >= early,
                "{:?} into a ttl of {:?} a fresh read has {seen:?}",
                since.elapsed(),
                lease.ttl()
            );
            sleep(crate::check::PACE).await;
        }
        drop(lease);
    }
    Ok(())
}

async fn a_record_without_owner_is_kept_for_its_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    if cx.profile().owned {
        return Err(Stop::Ignored("profile: owned = true".to_owned()));
    }
    let (owner, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let since = Instant::now();
    let lease = cx.register_briefly(&*owner, &wanted).await?;
    let early = lease.ttl().mul_f64(0.6);
    drop(lease);
    drop(owner);
    while since.elapsed() < early {
        let seen = observer.lookup(&wanted.service).await?;
        ensure!(
            seen == [wanted.clone()] || since.elapsed() >= early,
            "{:?} after its writer went, of a ttl of {:?}, a fresh read has {seen:?}",
            since.elapsed(),
            cx.ttl()
        );
        sleep(crate::check::PACE).await;
    }
    Ok(())
}

async fn revoke_is_final(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let mut probe = Probe::open(&*observer, WatchScope::All, cx.told_within()).await?;
    let lease = cx.register_briefly(&*owner, &wanted).await?;
    let granted = lease.ttl();
    probe.until(cx.told_within(), only(&wanted)).await?;
    let lease = {
        let kept = Kept::start(lease);
        sleep(granted / 2).await;
        kept.stop().await?
    };
    lease.revoke().await?;
    let seen = observer.lookup(&wanted.service).await?;
    ensure!(
        seen.is_empty(),
        "revoke is back, but a fresh read has {seen:?}"
    );
    probe.until(cx.told_within(), empty()).await?;
    always(&*observer, &wanted.service, granted.mul_f64(1.2), empty()).await?;
    let events = probe.drain(Duration::from_millis(100), MARGIN).await?;
    ensure!(
        events.is_empty(),
        "after the revoke a watcher was told {events:?}"
    );
    Ok(())
}

async fn deregister_takes_anyones_record(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, other) = (cx.open().await?, cx.open().await?);
    let all = instances("orders", 2)?;
    let mut probe = Probe::open(&*other, WatchScope::All, cx.told_within()).await?;
    let _taken = cx.register(&*owner, &all[0]).await?;
    let _kept = Kept::start(cx.register(&*owner, &all[1]).await?);
    for _ in 0..3 {
        other.deregister(&all[0].key()).await?;
    }
    other.deregister(&instance("unheard-of", 1)?.key()).await?;
    let seen = owner.lookup(&service("orders")?).await?;
    ensure!(
        seen == all[1..],
        "expected {} alone; seen {seen:?}",
        all[1].key()
    );
    probe.until(cx.told_within(), exactly(&all[1..])).await?;
    Ok(())
}

async fn a_loss_is_told(cx: &Context) -> Check {
    cx.needs_writing()?;
    if !cx.profile().tells_loss {
        return Err(Stop::Ignored("profile: tells_loss = false".to_owned()));
    }
    let (owner, other) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let lease = cx.register(&*owner, &wanted).await?;
    other.deregister(&wanted.key()).await?;
    let bound = cx.told_within();
    match timeout(bound, lease.lost()).await {
        Ok(error) => ensure!(
            error.kind() == ErrorKind::LeaseLost,
            "the loss of a record was told as {error:?}, not as lease_lost"
        ),
        Err(_) => {
            return Err(Stop::Failed(format!(
                "the record was deregistered by another client, and `lost` told nothing within {bound:?}"
            )));
        }
    }
    Ok(())
}

async fn a_living_lease_is_not_lost(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let mut lease = cx
        .register_briefly(&*registry, &instance("orders", 1)?)
        .await?;
    let interval = lease.ttl() / 3;
    for beat in 0..6 {
        if let Ok(error) = timeout(interval, lease.lost()).await {
            return Err(Stop::Failed(format!(
                "after {beat} beats the lease said {error:?}"
            )));
        }
        lease.renew().await?;
    }
    Ok(())
}

async fn an_expired_lease_is_lost(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (owner, other) = (cx.open().await?, cx.open().await?);
    let all = instances("orders", 2)?;
    let mut deregistered = cx.register_briefly(&*owner, &all[0]).await?;
    let mut expired = cx.register_briefly(&*owner, &all[1]).await?;
    other.deregister(&all[0].key()).await?;
    renewing_fails(cx, &mut deregistered).await?;
    eventually(
        &*other,
        &service("orders")?,
        cx.gone_within(expired.ttl()),
        empty(),
    )
    .await?;
    renewing_fails(cx, &mut expired).await?;
    always(&*other, &service("orders")?, MARGIN / 3, empty()).await
}

/// Where a loss is not told, the backend itself has forgotten within the ttl.
async fn renewing_fails(cx: &Context, lease: &mut Box<dyn Lease>) -> Check {
    let bound = cx.gone_within(lease.ttl());
    let start = Instant::now();
    loop {
        match lease.renew().await {
            Err(error) if error.kind() == ErrorKind::LeaseLost => return Ok(()),
            result => ensure!(
                start.elapsed() < bound,
                "the record is gone, and {bound:?} later renewing it gives {result:?}"
            ),
        }
        sleep(lease.ttl() / 10).await;
    }
}
