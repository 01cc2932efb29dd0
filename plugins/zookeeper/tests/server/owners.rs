//! Whose a znode is, when several write it.

use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use waypost_core::{Address, ErrorKind, Instance, RegisterOptions, WatchScope};
use waypost_testkit::containers::zookeeper_address;
use waypost_testkit::{Kept, laws};

use crate::help::{
    LEAST, SOON, at, client, instance, news, register, register_for, stat, until, watch,
};

laws! {
    a_removal_that_comes_late_spares_the_successor,
    an_update_that_comes_late_spares_the_successor,
    registering_again_changes_only_what_differs,
    a_dropped_registration_is_removed_at_once,
    a_takeover_is_told_to_the_former_owner,
}

fn moved(instance: &Instance) -> Instance {
    let mut moved = instance.clone();
    moved.node.address = Address::new("10.0.0.2:9090").expect("an address");
    moved
}

/// Lets a moment pass that differs from time to time.
async fn moment() {
    sleep(Duration::from_micros(fastrand::u64(..2500))).await;
}

async fn a_removal_that_comes_late_spares_the_successor() -> Kept {
    let address = zookeeper_address().await?;
    let (former, latter) = (at(&address).await, at(&address).await);
    let before = instance("removed", 1);
    let after = moved(&before);
    for round in 0..400 {
        let old = register(&*former, &before).await;
        let removal = async {
            moment().await;
            old.revoke().await
        };
        let succession = async {
            moment().await;
            register(&*latter, &after).await
        };
        let (removed, new) = tokio::join!(removal, succession);
        removed.expect("revoke");
        let seen = latter.lookup(&after.service).await.expect("lookup");
        assert_eq!(seen, std::slice::from_ref(&after), "round {round}");
        new.revoke().await.expect("revoke");
    }
    Ok(())
}

async fn an_update_that_comes_late_spares_the_successor() -> Kept {
    let address = zookeeper_address().await?;
    let (former, latter) = (at(&address).await, at(&address).await);
    let before = instance("updated", 1);
    let (after, late) = (moved(&before), before.clone().with_version("late"));
    for round in 0..400 {
        let mut old = register(&*former, &before).await;
        let update = async {
            moment().await;
            old.update(&late).await
        };
        let succession = async {
            moment().await;
            register(&*latter, &after).await
        };
        let (updated, new) = tokio::join!(update, succession);
        if let Err(error) = updated {
            assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
        }
        let seen = latter.lookup(&after.service).await.expect("lookup");
        assert_eq!(seen, std::slice::from_ref(&after), "round {round}");
        new.revoke().await.expect("revoke");
    }
    Ok(())
}

async fn registering_again_changes_only_what_differs() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let one = instance("repeated", 1);
    let _first = register(&*registry, &one).await;
    let before = stat(&raw, &one).await;
    let _again = register(&*registry, &one).await;
    assert_eq!(stat(&raw, &one).await, before, "nothing is written");
    let _changed = register(&*registry, &moved(&one)).await;
    let (before, after) = (before.expect("stat"), stat(&raw, &one).await.expect("stat"));
    assert_eq!(
        (after.czxid, after.version),
        (before.czxid, before.version + 1)
    );
    Ok(())
}

async fn a_dropped_registration_is_removed_at_once() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let _open = register_for(&*registry, &instance("open", 1), Duration::from_secs(40)).await;
    let options = RegisterOptions::new(Duration::from_secs(40));
    for number in 0..40 {
        let one = instance("dropped", number);
        let mut registering = std::pin::pin!(registry.register(&one, options));
        // The request is under way by now.
        let mut registered = futures_util::poll!(registering.as_mut());
        if number % 2 == 0 && registered.is_pending() {
            moment().await;
            registered = futures_util::poll!(registering.as_mut());
        }
        // On a quick server, or a slow machine, it has come through by now: somebody did wait for
        // that one, and its ttl is long.
        if let Poll::Ready(registered) = registered {
            let lease = registered.expect("a lease");
            lease.revoke().await.expect("revoke");
        }
    }
    until("nothing is left of what nobody waited for", || async {
        raw.list_children("/micro-registry/dropped")
            .await
            .unwrap_or_default()
            .is_empty()
    })
    .await;
    sleep(Duration::from_millis(300)).await;
    let late = raw
        .list_children("/micro-registry/dropped")
        .await
        .unwrap_or_default();
    assert!(late.is_empty(), "{late:?}");
    Ok(())
}

async fn a_takeover_is_told_to_the_former_owner() -> Kept {
    let address = zookeeper_address().await?;
    let (former, latter) = (at(&address).await, at(&address).await);
    let one = instance("taken", 1);
    let mut watcher = watch(&*latter, WatchScope::Service(one.service.clone())).await;
    news(&mut watcher).await.expect("snapshot");
    let mut old = register(&*former, &one).await;
    news(&mut watcher).await.expect("it came");
    let new = register(&*latter, &one).await;
    let told = timeout(LEAST / 2, old.lost()).await.expect("told soon");
    assert_eq!(told.kind(), ErrorKind::LeaseLost);
    assert!(told.to_string().contains("taken/taken-1"), "{told}");
    let renewed = old.renew().await.expect_err("lost");
    assert_eq!(renewed.kind(), ErrorKind::LeaseLost);
    drop(old);
    new.revoke().await.expect("revoke");
    let gone = timeout(SOON, news(&mut watcher))
        .await
        .expect("told")
        .expect("event");
    // The same content under another owner is no change, and there was no moment without it.
    assert!(
        matches!(gone, waypost_core::Event::Changed(all) if matches!(all[..], [waypost_core::Change::Remove(_)]))
    );
    Ok(())
}
