//! What watching costs the server, and how a watch ends.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};
use waypost_core::{BoxWatcher, Error, ErrorKind, Event, WatchScope};
use waypost_testkit::proxy::{Manner, Proxy};
use waypost_testkit::{Kept, laws};

use crate::help::{
    SOON, ask, at, instance, name, news, own_server, register, register_for, until, watch, watches,
};

laws! {
    a_scope_is_one_watch_at_the_server,
    a_held_record_is_one_watch_and_a_revoked_one_none,
    a_watch_ends_with_its_connection_and_the_next_one_makes_good,
    a_silent_server_ends_a_watch,
    one_event_reads_one_znode,
    thousands_of_watchers_leave_nothing,
}

async fn a_scope_is_one_watch_at_the_server() -> Kept {
    let server = own_server(&[]).await?;
    let address = server.address();
    let registry = at(&address).await;
    let scopes = [WatchScope::All, name("a").into(), name("b").into()];
    let mut open = Vec::new();
    for (count, scope) in (1..).zip(scopes) {
        // Several of one scope share it.
        for _ in 0..3 {
            open.push(watch(&*registry, scope.clone()).await);
        }
        assert_eq!(watches(&address).await, count);
    }
    drop(open);
    until("dropped watchers are watched no more", || async {
        watches(&address).await == 0
    })
    .await;
    Ok(())
}

async fn a_held_record_is_one_watch_and_a_revoked_one_none() -> Kept {
    let server = own_server(&[]).await?;
    let address = server.address();
    let registry = at(&address).await;
    let mut lease = register(&*registry, &instance("held", 1)).await;
    let other = register(&*registry, &instance("held", 2)).await;
    for version in ["2", "3"] {
        let changed = instance("held", 1).with_version(version);
        lease.update(&changed).await.expect("update");
        until("one watch a record", || async {
            watches(&address).await == 2
        })
        .await;
    }
    lease.revoke().await.expect("revoke");
    drop(other);
    until("no watch is left", || async {
        watches(&address).await == 0
    })
    .await;
    Ok(())
}

async fn end_of(watcher: &mut BoxWatcher) -> Error {
    let end = timeout(SOON, async {
        loop {
            match watcher.next().await.expect("an end") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    });
    let error = end.await.expect("an end soon");
    assert!(watcher.next().await.is_none());
    error
}

/// How many records the next event tells of.
async fn told(watcher: &mut BoxWatcher) -> usize {
    match news(watcher).await.expect("event") {
        Event::Snapshot(all) => all.len(),
        Event::Changed(changes) => changes.len(),
        Event::Confirmed => 0,
    }
}

async fn a_watch_ends_with_its_connection_and_the_next_one_makes_good() -> Kept {
    let server = own_server(&[]).await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let (watched, writer) = (at(&proxy.address()).await, at(&server.address()).await);
    let mut leases = Vec::new();
    for round in 0..4 {
        let mut watcher = watch(&*watched, WatchScope::All).await;
        assert_eq!(told(&mut watcher).await, round);
        proxy.reset();
        assert_eq!(end_of(&mut watcher).await.kind(), ErrorKind::Unavailable);
        leases.push(register(&*writer, &instance("missed", round)).await);
        let mut watcher = watch(&*watched, name("missed")).await;
        assert_eq!(told(&mut watcher).await, round + 1);
        // It is alive, not merely open: the client does not revive such watches by itself.
        let extra = register(&*writer, &instance("missed", 9)).await;
        assert_eq!(told(&mut watcher).await, 1);
        extra.revoke().await.expect("revoke");
        assert_eq!(told(&mut watcher).await, 1);
    }
    Ok(())
}

async fn a_silent_server_ends_a_watch() -> Kept {
    let server = own_server(&[]).await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let registry = at(&proxy.address()).await;
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert_eq!(told(&mut watcher).await, 0);
    proxy.behave(Manner::Hold);
    let start = Instant::now();
    assert_eq!(end_of(&mut watcher).await.kind(), ErrorKind::Unavailable);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    proxy.behave(Manner::Forward);
    let again = timeout(SOON, registry.watch(WatchScope::All)).await;
    assert_eq!(
        told(&mut again.expect("in time").expect("a watch")).await,
        0
    );
    Ok(())
}

/// Requests that the server has received from all clients.
async fn requests(address: &str) -> usize {
    let text = ask(address, "mntr").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("zk_packets_received"));
    line.and_then(|count| count.trim().parse().ok())
        .expect("a number")
}

async fn one_event_reads_one_znode() -> Kept {
    let server = own_server(&[]).await?;
    let (watched, writer) = (at(&server.address()).await, at(&server.address()).await);
    let mut leases = Vec::new();
    for number in 0..200 {
        leases.push(register(&*writer, &instance("large", number)).await);
    }
    let mut watcher = watch(&*watched, WatchScope::All).await;
    assert_eq!(told(&mut watcher).await, 200);
    let before = requests(&server.address()).await;
    for version in 0..20 {
        let changed = instance("large", 7).with_version(version.to_string());
        leases[7].update(&changed).await.expect("update");
        assert_eq!(told(&mut watcher).await, 1);
    }
    let after = requests(&server.address()).await;
    // An update is three, the owner's own watch one, the reader's look one; pings come on top.
    assert!(after - before < 20 * 6 + 60, "{}", after - before);
    Ok(())
}

async fn thousands_of_watchers_leave_nothing() -> Kept {
    let server = own_server(&[]).await?;
    let address = server.address();
    let registry = at(&address).await;
    let ttl = Duration::from_secs(40);
    let _lease = register_for(&*registry, &instance("watched", 1), ttl).await;
    for number in 0..2000 {
        let scope = match number % 2 {
            0 => WatchScope::All,
            _ => name("watched").into(),
        };
        let mut watcher = watch(&*registry, scope).await;
        if number % 3 == 0 {
            assert_eq!(told(&mut watcher).await, 1);
        }
    }
    until("only the record's own watch is left", || async {
        watches(&address).await == 1
    })
    .await;
    Ok(())
}
