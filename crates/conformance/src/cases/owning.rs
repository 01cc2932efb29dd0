//! Whose a record is when two claim it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use waypost_core::{ErrorKind, Instance, Lease, Registry, WatchScope};

use super::table;
use crate::check::{Check, Stop, always, ensure, eventually, exactly, only};
use crate::context::{Context, MARGIN, instance, moved};
use crate::kept::Kept;
use crate::probe::Probe;

table! {
    a_late_revoke_leaves_the_successors_record ["L4", "L6"]
        "Revoking a lease whose record somebody else has taken over removes nothing."
    a_late_renewal_leaves_the_successors_record ["L4"]
        "Renewing a lease whose record somebody else has taken over is `LeaseLost`, and changes nothing."
    a_late_update_leaves_the_successors_record ["L4"]
        "Updating through a lease whose record somebody else has taken over is `LeaseLost`."
    a_successor_outlives_the_former_owners_lease ["L4"]
        "A record that was taken over does not go with the former owner's ttl."
    a_restart_with_the_same_id_is_never_absent ["L4"]
        "While an owner is replaced under the same id there is always exactly one record."
    two_claims_to_one_record_end_with_one_owner ["L4"]
        "Of two that claim one record at once exactly one holds it afterwards."
}

/// A record that was taken over: the successor's lease, its content, an observer.
struct Succession {
    _kept: Kept,
    record: [Instance; 1],
    observer: Arc<dyn Registry>,
    probe: Probe,
}

/// Lets one owner take over from another, and gives back the former owner's lease too.
async fn succession(cx: &Context) -> Check<(Box<dyn Lease>, Succession)> {
    cx.needs_writing()?;
    let (first, second, observer) = (cx.open().await?, cx.open().await?, cx.open().await?);
    let before = instance("orders", 1)?;
    let former = cx.register_briefly(&*first, &before).await?;
    let record = [moved(&before)?];
    let kept = Kept::start(cx.register(&*second, &record[0]).await?);
    let mut probe = Probe::open(&*observer, WatchScope::All, cx.told_within()).await?;
    probe.until(cx.told_within(), exactly(&record)).await?;
    let succession = Succession {
        _kept: kept,
        record,
        observer,
        probe,
    };
    Ok((former, succession))
}

impl Succession {
    /// The successor's record stays, for a while in which any late write would have landed.
    async fn stands(mut self, cx: &Context) -> Check {
        let expected = exactly(&self.record);
        always(
            &*self.observer,
            &self.record[0].service,
            cx.ttl() / 2,
            &expected,
        )
        .await?;
        let events = self.probe.drain(Duration::from_millis(100), MARGIN).await?;
        ensure!(
            events.is_empty(),
            "of the successor's record a watcher was told {events:?}"
        );
        Ok(())
    }
}

async fn a_late_revoke_leaves_the_successors_record(cx: &Context) -> Check {
    let (former, succession) = succession(cx).await?;
    match former.revoke().await {
        Ok(()) => {}
        Err(error) => ensure!(
            error.kind() == ErrorKind::LeaseLost,
            "a late revoke has to succeed or be lease_lost, not {error:?}"
        ),
    }
    succession.stands(cx).await
}

async fn a_late_renewal_leaves_the_successors_record(cx: &Context) -> Check {
    let (mut former, succession) = succession(cx).await?;
    let bound = cx.gone_within(former.ttl());
    let start = Instant::now();
    loop {
        match former.renew().await {
            Err(error) if error.kind() == ErrorKind::LeaseLost => break,
            result => ensure!(
                start.elapsed() < bound,
                "the record is somebody else's, and {bound:?} later renewing it gives {result:?}"
            ),
        }
        sleep(cx.ttl() / 10).await;
    }
    succession.stands(cx).await
}

async fn a_late_update_leaves_the_successors_record(cx: &Context) -> Check {
    let (mut former, succession) = succession(cx).await?;
    let late = instance("orders", 1)?.with_version("late");
    let result = former.update(&late).await;
    let kind = result.as_ref().err().map(waypost_core::Error::kind);
    ensure!(
        kind == Some(ErrorKind::LeaseLost),
        "updating a record that is somebody else's gave {result:?}, not lease_lost"
    );
    succession.stands(cx).await
}

async fn a_successor_outlives_the_former_owners_lease(cx: &Context) -> Check {
    let (former, succession) = succession(cx).await?;
    let span = former.ttl() + cx.profile().slack + MARGIN / 3;
    let expected = exactly(&succession.record);
    always(
        &*succession.observer,
        &succession.record[0].service,
        span,
        &expected,
    )
    .await?;
    succession.stands(cx).await
}

async fn a_restart_with_the_same_id_is_never_absent(cx: &Context) -> Check {
    cx.needs_writing()?;
    cx.needs_one_step()?;
    let observer = cx.open().await?;
    let (before, mut probe) = (
        instance("orders", 1)?,
        Probe::open(&*observer, WatchScope::All, cx.told_within()).await?,
    );
    let mut owner = cx.open().await?;
    let mut lease = cx.register_briefly(&*owner, &before).await?;
    probe.until(cx.told_within(), only(&before)).await?;
    let one = |seen: &[Instance]| (seen.len() != 1).then(|| "expected one record".to_owned());
    for generation in 0..6 {
        let next = before.clone().with_version(format!("2.{generation}"));
        let successor = cx.open().await?;
        let watching = always(&*observer, &before.service, Duration::from_millis(200), one);
        let (seen, taken) = tokio::join!(watching, cx.register(&*successor, &next));
        seen?;
        drop(std::mem::replace(&mut lease, taken?));
        drop(std::mem::replace(&mut owner, successor));
        follow_to(&mut probe, &next, cx.told_within()).await?;
    }
    let kept = Kept::start(lease);
    always(
        &*observer,
        &before.service,
        cx.ttl() + cx.profile().slack,
        one,
    )
    .await?;
    kept.stop().await?;
    Ok(())
}

/// Reads events until the record is `wanted`; at no event may there be another number of records.
async fn follow_to(probe: &mut Probe, wanted: &Instance, bound: Duration) -> Check {
    let followed = timeout(bound, async {
        while probe.records() != [wanted.clone()] {
            let event = probe.news(bound).await?;
            let count = probe.state().len();
            ensure!(
                count == 1,
                "after {event:?} a watcher knows {count} records, not one"
            );
        }
        Ok(())
    });
    match followed.await {
        Ok(check) => check,
        Err(_) => Err(Stop::Failed(format!(
            "no watcher heard of {wanted:?} within {bound:?}"
        ))),
    }
}

async fn two_claims_to_one_record_end_with_one_owner(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (first, second, observer) = (cx.open().await?, cx.open().await?, cx.open().await?);
    let claims = [instance("orders", 1)?, moved(&instance("orders", 1)?)?];
    let (one, other) = tokio::join!(
        cx.register_briefly(&*first, &claims[0]),
        cx.register_briefly(&*second, &claims[1]),
    );
    let mut leases = [one?, other?];
    let orders = claims[0].service.clone();
    eventually(&*observer, &orders, MARGIN, |seen| {
        (seen.len() != 1).then(|| "expected one record".to_owned())
    })
    .await?;
    let bound = cx.gone_within(leases[0].ttl());
    let start = Instant::now();
    loop {
        let (one, other) = {
            let [one, other] = &mut leases;
            tokio::join!(one.renew(), other.renew())
        };
        let winner = match (&one, &other) {
            (Ok(()), Err(error)) if error.kind() == ErrorKind::LeaseLost => 0,
            (Err(error), Ok(())) if error.kind() == ErrorKind::LeaseLost => 1,
            _ => {
                ensure!(
                    start.elapsed() < bound,
                    "after {bound:?} the two owners of one record renew with {one:?} and {other:?}"
                );
                sleep(cx.ttl() / 10).await;
                continue;
            }
        };
        let seen = observer.lookup(&orders).await?;
        ensure!(
            seen == [claims[winner].clone()],
            "the lease of {:?} holds, but a fresh read has {seen:?}",
            claims[winner]
        );
        return Ok(());
    }
}
