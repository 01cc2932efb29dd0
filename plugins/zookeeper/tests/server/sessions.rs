//! Sessions: how many there are, how they end, and what ends with them.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use waypost_core::{ErrorKind, RegisterOptions};
use waypost_testkit::proxy::{Manner, Proxy};
use waypost_testkit::{Kept, laws};

use crate::help::{
    LEAST, SOON, at, client, instance, name, own_server, register, register_for, sessions, stat,
    try_open, until,
};

laws! {
    a_process_has_one_session_a_ttl,
    the_grant_is_the_servers,
    a_lost_connection_writes_nothing,
    an_outage_does_not_count_against_the_ttl,
    an_expired_session_is_replaced_once_for_all,
    a_session_that_the_server_forgot_is_not_waited_for,
    a_session_that_is_cut_off_is_kept_while_the_server_keeps_it,
    a_session_in_anothers_place_costs_no_record_before_it_is_written_anew,
    a_connection_too_many_is_explained,
    a_closed_registry_leaves_nothing,
}

async fn a_process_has_one_session_a_ttl() -> Kept {
    let server = own_server(&[]).await?;
    let address = server.address();
    let registry = at(&address).await;
    let mut leases = Vec::new();
    for number in 0..50 {
        leases.push(register_for(&*registry, &instance("many", number), LEAST * 2).await);
    }
    let seen = registry.lookup(&name("many")).await.expect("lookup");
    assert_eq!((seen.len(), sessions(&address).await), (50, 1));
    for (seconds, count) in [(9, 2), (10, 3), (11, 4), (12, 4), (5, 4)] {
        let ttl = Duration::from_secs(seconds);
        leases.push(register_for(&*registry, &instance("others", seconds as usize), ttl).await);
        assert_eq!(sessions(&address).await, count, "{ttl:?}");
    }
    Ok(())
}

async fn the_grant_is_the_servers() -> Kept {
    let server = own_server(&[]).await?;
    let registry = at(&server.address()).await;
    for (asked, granted) in [(4.0, 4), (4.2, 5), (30.0, 30), (3600.0, 40)] {
        let ttl = Duration::from_secs_f64(asked);
        let lease = register_for(&*registry, &instance("granted", 1), ttl).await;
        assert_eq!(lease.ttl(), Duration::from_secs(granted), "{asked}");
    }
    let slow = own_server(&[("ZOO_TICK_TIME", "3000")]).await?;
    let registry = at(&slow.address()).await;
    let lease = register(&*registry, &instance("granted", 1)).await;
    assert_eq!(
        lease.ttl(),
        Duration::from_secs(6),
        "two ticks are the least"
    );
    Ok(())
}

async fn a_lost_connection_writes_nothing() -> Kept {
    let server = own_server(&[]).await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let (registry, raw) = (at(&proxy.address()).await, client(&server.address()).await);
    let one = instance("steady", 1);
    let mut lease = register(&*registry, &one).await;
    let before = stat(&raw, &one).await;
    for _ in 0..5 {
        proxy.reset();
        // Waits for the connection to be back.
        timeout(LEAST / 2, lease.renew())
            .await
            .expect("in time")
            .expect("renew");
        assert_eq!(stat(&raw, &one).await, before);
    }
    assert!(
        timeout(Duration::from_millis(300), lease.lost())
            .await
            .is_err()
    );
    assert_eq!(
        sessions(&server.address()).await,
        2,
        "ours and the observer's"
    );
    Ok(())
}

async fn an_outage_does_not_count_against_the_ttl() -> Kept {
    let server = own_server(&[]).await?;
    let ttl = Duration::from_secs(24);
    let registry = at(&server.address()).await;
    let one = instance("patient", 1);
    let mut lease = register_for(&*registry, &one, ttl).await;
    let before = stat(&client(&server.address()).await, &one).await;
    // Together longer than the ttl: the client looks again 13 s after each kill.
    for _ in 0..3 {
        server.kill().await.expect("kill");
        sleep(ttl / 4).await;
        server.revive().await.expect("revive");
        until("the session is back", || async {
            sessions(&server.address()).await > 0
        })
        .await;
    }
    // The server's clock begins anew as well, so that the session is still there.
    timeout(SOON, lease.renew())
        .await
        .expect("in time")
        .expect("renew");
    let raw = client(&server.address()).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stat(&raw, &one).await, before);
    // What is not renewed after that goes all the same.
    let gone = timeout(ttl + Duration::from_secs(3), lease.lost()).await;
    assert_eq!(gone.expect("lost").kind(), ErrorKind::LeaseLost);
    until("the record is gone", || async {
        stat(&raw, &one).await.is_none()
    })
    .await;
    Ok(())
}

async fn an_expired_session_is_replaced_once_for_all() -> Kept {
    let server = own_server(&[]).await?;
    let registry = at(&server.address()).await;
    let mut leases = Vec::new();
    for number in 0..20 {
        leases.push(register(&*registry, &instance("expired", number)).await);
    }
    server.pause().await.expect("pause");
    let start = Instant::now();
    for lease in &leases {
        let told = timeout(SOON * 2, lease.lost()).await.expect("told");
        assert_eq!(told.kind(), ErrorKind::LeaseLost);
        assert!(told.to_string().contains("session has expired"), "{told}");
    }
    assert!(
        start.elapsed() >= LEAST,
        "the client's own word is no earlier"
    );
    server.unpause().await.expect("unpause");
    for lease in &mut leases {
        let renewed = lease.renew().await.expect_err("lost");
        assert_eq!(renewed.kind(), ErrorKind::LeaseLost);
    }
    let instances: Vec<_> = (0..20).map(|number| instance("expired", number)).collect();
    let again = instances.iter().map(|one| register(&*registry, one));
    let again = futures_util::future::join_all(again).await;
    assert_eq!(sessions(&server.address()).await, 1);
    drop(leases);
    sleep(Duration::from_millis(500)).await;
    let seen = registry.lookup(&name("expired")).await.expect("lookup");
    assert_eq!(seen.len(), again.len(), "old leases take nothing with them");
    Ok(())
}

/// Of a session that the client itself would not give up for the length of a law.
const LONG: Duration = Duration::from_secs(40);

async fn a_session_that_the_server_forgot_is_not_waited_for() -> Kept {
    let mut server = own_server(&[]).await?;
    let registry = at(&server.address()).await;
    let one = instance("forgotten", 1);
    let mut lease = register_for(&*registry, &one, LONG).await;
    server.wipe().await.expect("wipe");
    // Waits for the connection at first, and for an answer about the session later.
    let start = Instant::now();
    let told = loop {
        match timeout(SOON / 2, lease.renew()).await {
            Ok(Err(error)) if error.kind() == ErrorKind::LeaseLost => break error,
            _ => assert!(start.elapsed() < LONG / 2, "the session is waited for"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    assert!(told.to_string().contains("session has expired"), "{told}");
    let _again = register_for(&*registry, &one, LONG).await;
    let seen = registry.lookup(&one.service).await.expect("lookup");
    assert_eq!(seen, [one]);
    Ok(())
}

async fn a_session_that_is_cut_off_is_kept_while_the_server_keeps_it() -> Kept {
    let server = own_server(&[]).await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let raw = client(&server.address()).await;
    let registry = at(&proxy.address()).await;
    let one = instance("kept", 1);
    let mut lease = register_for(&*registry, &one, LONG).await;
    let before = stat(&raw, &one).await;
    // The client waits ever longer; others of the process do not.
    proxy.behave(Manner::Refuse);
    sleep(Duration::from_secs(8)).await;
    proxy.mend();
    until("it is read again", || async {
        let seen = registry.lookup(&one.service).await;
        seen.is_ok_and(|seen| seen.len() == 1)
    })
    .await;
    timeout(LONG / 2, lease.renew())
        .await
        .expect("in time")
        .expect("renew");
    assert_eq!(stat(&raw, &one).await, before, "nothing is written");
    Ok(())
}

async fn a_session_in_anothers_place_costs_no_record_before_it_is_written_anew() -> Kept {
    let server = own_server(&[]).await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let raw = client(&server.address()).await;
    let registry = at(&proxy.address()).await;
    let (one, two) = (instance("moving", 1), instance("moving", 2));
    let leases = [
        register_for(&*registry, &one, LONG).await,
        register_for(&*registry, &two, LONG).await,
    ];
    proxy.behave(Manner::Refuse);
    sleep(Duration::from_secs(4)).await;
    // Both are given up as lost, and one is tried anew while nobody answers.
    drop(leases);
    let options = RegisterOptions::new(LONG);
    let refused = registry.register(&one, options).await;
    assert!(refused.is_err(), "nobody answers");
    proxy.mend();
    let start = Instant::now();
    let mut again = None;
    while start.elapsed() < Duration::from_secs(6) {
        assert!(stat(&raw, &two).await.is_some(), "{:?}", start.elapsed());
        if again.is_none() {
            again = registry.register(&one, options).await.ok();
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(again.is_some(), "it is registered anew");
    let _two = register_for(&*registry, &two, LONG).await;
    let seen = registry.lookup(&name("moving")).await.expect("lookup");
    assert_eq!(seen.len(), 2);
    Ok(())
}

async fn a_connection_too_many_is_explained() -> Kept {
    let server = own_server(&[("ZOO_MAX_CLIENT_CNXNS", "2")]).await?;
    let address = server.address();
    let full = [at(&address).await, at(&address).await];
    for (number, registry) in full.iter().enumerate() {
        let _lease = register(&**registry, &instance("seated", number)).await;
    }
    let late = try_open(&format!("zookeeper://{address}"))
        .await
        .expect("no I/O yet");
    let options = RegisterOptions::new(LEAST);
    let refused = late.register(&instance("standing", 1), options).await;
    let error = refused.expect_err("one too many");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("maxClientCnxns"), "{error}");
    drop(full);
    until("there is room", || async { late.services().await.is_ok() }).await;
    Ok(())
}

async fn a_closed_registry_leaves_nothing() -> Kept {
    let server = own_server(&[]).await?;
    let (registry, raw) = (at(&server.address()).await, client(&server.address()).await);
    let one = instance("closed", 1);
    let lease = register_for(&*registry, &one, Duration::from_secs(40)).await;
    drop((registry, lease));
    until("the session is closed", || async {
        stat(&raw, &one).await.is_none() && sessions(&server.address()).await == 1
    })
    .await;
    Ok(())
}
