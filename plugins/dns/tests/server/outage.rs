//! Name servers that go away, and come back.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, Freshness};
use waypost_testkit::containers::dns::{Data, Update, dns_address};
use waypost_testkit::containers::{DNS, Server};
use waypost_testkit::{Kept, laws};

use crate::support::{fresh, open, service, srv, until};

laws! {
    a_dead_server_empties_nothing_and_a_revived_one_is_followed,
    a_removed_record_is_gone_when_its_ttl_ends,
    a_silent_server_costs_its_timeout_once,
}

async fn a_dead_server_empties_nothing_and_a_revived_one_is_followed() -> Kept {
    let server = Server::start(&DNS).await?;
    let (address, domain) = (server.address(), fresh("outage"));
    let below = |name: &str| format!("{name}.{domain}");
    let mut update = Update::new();
    update.add(&below("_orders._tcp"), 1, &srv(80, &below("a")));
    update.add(&below("_orders._tcp"), 1, &srv(80, &below("b")));
    update.add(&below("a"), 1, &Data::A([10, 0, 0, 1].into()));
    update.add(&below("b"), 1, &Data::A([10, 0, 0, 2].into()));
    update.send(&address).await.expect("an update");
    let registry = open(&format!("dns://{address}/{domain}?timeout=500ms")).await;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let orders = directory
        .follow(service("orders"))
        .await
        .expect("an answer");
    assert_eq!(orders.members().len(), 2);

    server.kill().await.expect("a kill");
    until("the outage is noticed", || {
        matches!(orders.freshness(), Freshness::Stale { .. })
    })
    .await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(orders.members().len(), 2, "an outage is no departure");
        sleep(Duration::from_millis(20)).await;
    }
    server.revive().await.expect("a start");
    let mut update = Update::new();
    update.remove(&below("b"));
    update.remove(&below("_orders._tcp"));
    update.add(&below("_orders._tcp"), 1, &srv(80, &below("a")));
    update.add(&below("_orders._tcp"), 1, &srv(81, &below("a")));
    update.send(&address).await.expect("an update");
    let ports = || {
        let members = orders.members();
        let mut ports: Vec<_> = members.live().map(|one| one.node.address.port()).collect();
        ports.sort_unstable();
        ports
    };
    until("the change is known", || ports() == [80, 81]).await;
    assert_eq!(orders.freshness(), Freshness::Live);
    Ok(())
}

async fn a_removed_record_is_gone_when_its_ttl_ends() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("removed"));
    let host = format!("users.{domain}");
    let mut update = Update::new();
    update.add(&host, 1, &Data::A([10, 0, 0, 1].into()));
    update.send(&address).await.expect("an update");
    let registry = open(&format!("dns://{address}/{domain}?port=80")).await;
    let directory = Directory::new(registry, DirectoryOptions::new());
    let users = directory.follow(service("users")).await.expect("an answer");
    assert_eq!(users.members().len(), 1);
    let mut update = Update::new();
    update.remove(&host);
    update.send(&address).await.expect("an update");
    until("the removal is known", || {
        users.members().live().next().is_none()
    })
    .await;
    assert_eq!(users.freshness(), Freshness::Live, "NXDOMAIN is an answer");
    Ok(())
}

async fn a_silent_server_costs_its_timeout_once() -> Kept {
    let address = dns_address().await?;
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let silent_address = silent.local_addr().expect("an address");
    let url = format!("dns://{silent_address},{address}/fixed.waypost.test?timeout=1s");
    let registry = open(&url).await;
    let start = Instant::now();
    for _ in 0..30 {
        let seen = registry
            .lookup(&service("orders"))
            .await
            .expect("the other answers");
        assert_eq!(seen.len(), 2);
    }
    // Thirty timeouts would be thirty seconds.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}
