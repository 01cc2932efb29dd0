//! What the house's keeper owes to a service, over this registry.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use waypost_core::{ErrorKind, Registration, RegistrationOptions, State, WatchScope};

use super::table;
use crate::check::{Check, always, ensure, eventually, exactly, only};
use crate::context::{Context, MARGIN, instance};
use crate::faults::{Fault, Faulty};
use crate::probe::Probe;
use crate::reader::BACKOFF;
use crate::service::{Service, is_live, live};

table! {
    a_registration_is_never_absent ["L1", "L3"]
        "While a service lives its record is there, though a renewal was stalled for half a ttl."
    a_record_removed_by_hand_comes_back ["L1"]
        "A living service whose record somebody removed has it back within an interval and a backoff."
    a_record_comes_back_after_an_outage ["L1"]
        "A service whose record expired in an outage has it back without a restart."
    a_release_is_final ["L6"]
        "A released registration is gone at once and never comes back."
    a_release_returns_though_the_registry_is_dead ["L6"]
        "Releasing ends within its deadline without a registry, and nothing brings the record back."
    the_interval_follows_the_granted_ttl []
        "Where less is granted than was asked for, the beats follow what was granted."
    an_update_in_an_outage_is_written_after_it ["L5"]
        "Content that changed while the registry was away is there when it is back."
    a_storm_of_updates_ends_with_the_last ["L5"]
        "However fast content changes, the last is what stays."
}

async fn a_registration_is_never_absent(cx: &Context) -> Check {
    let ttl = cx.ttl() * 3;
    let service = live(cx, ttl).await?;
    let stall = async {
        sleep(ttl / 2).await;
        service.switch.fail(Fault::Hang);
        sleep(ttl / 2).await;
        service.switch.heal();
    };
    let span = ttl * 2;
    let watched = always(
        &*service.observer,
        &service.record.service,
        span,
        only(&service.record),
    );
    let ((), watched) = tokio::join!(stall, watched);
    watched?;
    is_live(&service.registration, MARGIN).await
}

async fn a_record_removed_by_hand_comes_back(cx: &Context) -> Check {
    let service = live(cx, cx.ttl()).await?;
    for _ in 0..2 {
        service.observer.deregister(&service.record.key()).await?;
        let unheard = if cx.profile().tells_loss {
            Duration::ZERO
        } else {
            cx.ttl()
        };
        let bound = unheard + cx.ttl() / 3 + BACKOFF + MARGIN;
        service.back_within(bound).await?;
    }
    Ok(())
}

async fn a_record_comes_back_after_an_outage(cx: &Context) -> Check {
    let service = live(cx, cx.ttl()).await?;
    let granted = service
        .registration
        .standing()
        .borrow()
        .ttl
        .unwrap_or(cx.ttl());
    service.switch.fail(Fault::Fail(ErrorKind::Unavailable));
    service.gone_within(cx.gone_within(granted)).await?;
    let standing = service.registration.standing().borrow().clone();
    ensure!(
        standing.state != State::Live && standing.cause.is_some(),
        "the record is gone, and the registration stands as {standing:?}"
    );
    service.switch.heal();
    service.back_within(cx.ttl() / 3 + BACKOFF + MARGIN).await
}

async fn a_release_is_final(cx: &Context) -> Check {
    let Service {
        registration,
        record,
        observer,
        ..
    } = live(cx, cx.ttl()).await?;
    let mut probe = Probe::open(&*observer, WatchScope::All, cx.told_within()).await?;
    let standing = registration.standing();
    registration.release().await?;
    let seen = observer.lookup(&record.service).await?;
    ensure!(
        seen.is_empty(),
        "the release is back, but a fresh read has {seen:?}"
    );
    let state = standing.borrow().state;
    ensure!(
        state == State::Released,
        "after the release the registration is {state:?}"
    );
    probe.until(cx.told_within(), exactly(&[])).await?;
    always(&*observer, &record.service, cx.ttl() * 2, exactly(&[])).await
}

async fn a_release_returns_though_the_registry_is_dead(cx: &Context) -> Check {
    let Service {
        registration,
        switch,
        record,
        observer,
    } = live(cx, cx.ttl()).await?;
    let granted = registration.standing().borrow().ttl.unwrap_or(cx.ttl());
    switch.fail(Fault::Hang);
    let bound = Duration::from_secs(10) + MARGIN;
    let released = timeout(bound, registration.release()).await;
    ensure!(
        released.is_ok(),
        "a release with a dead registry did not return within {bound:?}"
    );
    switch.heal();
    let gone = cx.gone_within(granted);
    eventually(&*observer, &record.service, gone, exactly(&[])).await?;
    always(&*observer, &record.service, cx.ttl(), exactly(&[])).await
}

async fn the_interval_follows_the_granted_ttl(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (observer, record) = (cx.open().await?, instance("orders", 1)?);
    let (registry, switch) = Faulty::over(cx.open().await?);
    switch.grant(cx.ttl());
    let options = RegistrationOptions::new().with_ttl(cx.ttl() * 30);
    let registration = Registration::start(registry, record.clone(), options)?;
    is_live(&registration, cx.told_within()).await?;
    let granted = registration.standing().borrow().ttl;
    ensure!(
        granted.is_some_and(|ttl| ttl < cx.ttl() * 10),
        "asked for {:?}, granted about {:?}, and the standing says {granted:?}",
        cx.ttl() * 30,
        cx.ttl()
    );
    let span = granted.unwrap_or_default() * 2 + cx.profile().slack;
    always(&*observer, &record.service, span, only(&record)).await?;
    let beats = switch.count("renew");
    ensure!(
        beats >= 4,
        "in {span:?} of a granted {granted:?} there were {beats} beats"
    );
    Ok(())
}

async fn an_update_in_an_outage_is_written_after_it(cx: &Context) -> Check {
    let mut service = live(cx, cx.ttl()).await?;
    service.switch.fail(Fault::Fail(ErrorKind::Unavailable));
    let updated = service.record.clone().with_version("2.0.0");
    let update = service.registration.update(updated.clone());
    let early = timeout(cx.ttl() / 4, update).await;
    ensure!(
        early.is_err(),
        "an update was told to be written while the registry was away: {early:?}"
    );
    service.switch.heal();
    service.record = updated;
    service.back_within(cx.ttl() / 3 + BACKOFF + MARGIN).await
}

async fn a_storm_of_updates_ends_with_the_last(cx: &Context) -> Check {
    let service = live(cx, cx.ttl()).await?;
    let orders = crate::context::service("orders")?;
    let mut probe =
        Probe::open(&*service.observer, orders.clone().into(), cx.told_within()).await?;
    let version = |step: u32| service.record.clone().with_version(format!("3.{step}"));
    let updates = (0..100).map(|step| service.registration.update(version(step)));
    for result in join_all(updates).await {
        result?;
    }
    let last = version(99);
    let seen = service.observer.lookup(&orders).await?;
    ensure!(
        seen == [last.clone()],
        "the last update is back, but a fresh read has {seen:?}"
    );
    probe.until(cx.told_within(), only(&last)).await?;
    Ok(())
}
