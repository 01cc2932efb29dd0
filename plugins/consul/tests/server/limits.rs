//! Consul's limit of connections, and ours.

use std::time::Duration;

use tokio::time::sleep;
use waypost_core::{Event, WatchScope};
use waypost_testkit::containers::CONSUL;
use waypost_testkit::proxy::Proxy;
use waypost_testkit::{Kept, laws};

use crate::support::{instance, name, news, open, own_agent, register, snapshot, watch};

laws! {
    three_hundred_followed_services_stay_within_the_agents_limit,
}

/// The agent has its default limit of 200 connections a client.
async fn three_hundred_followed_services_stay_within_the_agents_limit() -> Kept {
    let agent = own_agent(&CONSUL, "").await?;
    let proxy = Proxy::start(agent.address()).await.expect("a proxy");
    let registry = open(&format!("consul://{}?timeout=10s", proxy.address())).await;
    let mut watchers = Vec::new();
    for number in 0..300 {
        watchers.push(watch(&*registry, name(&format!("s{number}"))).await);
    }
    watchers.push(watch(&*registry, WatchScope::All).await);
    for watcher in &mut watchers {
        assert!(snapshot(watcher).await.is_empty());
    }
    let mut leases = Vec::new();
    for number in [0, 150, 299] {
        let one = instance(&format!("s{number}"), 1);
        leases.push(register(&*registry, &one).await);
        for at in [number, 300] {
            let event = news(&mut watchers[at]).await.expect("news");
            assert!(matches!(event, Event::Changed(changes) if changes.len() == 1));
        }
    }
    sleep(Duration::from_secs(1)).await;
    // 16 queries, 8 short requests, the shared one, and what is just being closed.
    assert!(proxy.open() <= 30, "{} connections", proxy.open());
    drop(watchers);
    let one = instance("s7", 1);
    let lease = register(&*registry, &one).await;
    lease.revoke().await.expect("revoked");
    Ok(())
}
