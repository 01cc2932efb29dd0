//! Several addresses, some of them dead.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use waypost_core::{ErrorKind, WatchScope};
use waypost_testkit::proxy::{Manner, Proxy};
use waypost_testkit::{Kept, laws};

use crate::support::{instance, name, open, register, shared, try_open, watch};

laws! {
    a_refusing_endpoint_is_passed_over,
    a_silent_endpoint_is_passed_over_by_all_at_once,
    renewals_move_to_another_endpoint,
    a_dead_registry_names_its_peers,
    opening_needs_no_server,
}

async fn a_refusing_endpoint_is_passed_over() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://127.0.0.1:1,{address}/refusing")).await;
    let start = Instant::now();
    let mut lease = register(&*registry, &instance("r", 1)).await;
    lease.renew().await.expect("renew");
    assert_eq!(registry.lookup(&name("r")).await.expect("lookup").len(), 1);
    let _watcher = watch(&*registry, WatchScope::All).await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

async fn a_silent_endpoint_is_passed_over_by_all_at_once() -> Kept {
    let address = shared().await?;
    let proxy = Proxy::start(address.clone()).await.expect("proxy");
    let url = format!("etcd://{},{address}/silent", proxy.address());
    let registry = open(&url).await;
    registry.services().await.expect("through the proxy");
    proxy.behave(Manner::Hold);
    let start = Instant::now();
    let name = name("s");
    let all = join_all((0..200).map(|_| registry.lookup(&name))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    let start = Instant::now();
    registry
        .lookup(&name)
        .await
        .expect("stays with the one that answers");
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

async fn renewals_move_to_another_endpoint() -> Kept {
    let address = shared().await?;
    let proxy = Proxy::start(address.clone()).await.expect("proxy");
    let registry = open(&format!("etcd://{},{address}/moving", proxy.address())).await;
    let mut lease = register(&*registry, &instance("m", 1)).await;
    lease.renew().await.expect("through the proxy");
    proxy.behave(Manner::Hold);
    // A renewal that its caller gives up tells the next one to look elsewhere.
    let given_up = tokio::time::timeout(Duration::from_secs(1), lease.renew()).await;
    assert!(given_up.is_err());
    let start = Instant::now();
    lease.renew().await.expect("elsewhere");
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

async fn a_dead_registry_names_its_peers() -> Kept {
    let registry = open("etcd://127.0.0.1:1,127.0.0.1:2").await;
    let error = registry.lookup(&name("x")).await.expect_err("dead");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        "etcd: lookup x: no endpoint answered: 127.0.0.1:1: connection refused; \
         127.0.0.1:2: connection refused"
    );
    let error = registry.watch(WatchScope::All).await.err().expect("dead");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    Ok(())
}

async fn opening_needs_no_server() -> Kept {
    let start = Instant::now();
    try_open("etcd://ann:S3CR3T@127.0.0.1:1")
        .await
        .expect("lazy");
    assert!(start.elapsed() < Duration::from_millis(500));
    Ok(())
}
