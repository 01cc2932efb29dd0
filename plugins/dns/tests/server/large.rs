//! Many records.

use futures_util::StreamExt;
use waypost_core::{ErrorKind, Event, WatchScope};
use waypost_testkit::containers::dns::{Data, Update, dns_address};
use waypost_testkit::proxy::Proxy;
use waypost_testkit::{Kept, laws};

use crate::support::{fresh, open, service, srv};

laws! {
    an_answer_too_large_for_a_datagram_comes_over_a_connection,
    an_answer_too_large_for_any_message_is_an_error,
    ten_thousand_nodes_are_found,
}

/// Adds `count` SRV records to a service, in as many updates as that takes.
async fn crowd(address: &str, domain: &str, name: &str, count: u16) {
    let target = format!("a.{domain}");
    let mut update = Update::new();
    update.add(&target, 60, &Data::A([10, 0, 0, 1].into()));
    for port in 1..=count {
        update.add(&format!("_{name}._tcp.{domain}"), 60, &srv(port, &target));
        if update.size() > 50_000 {
            std::mem::take(&mut update)
                .send(address)
                .await
                .expect("an update");
        }
    }
    update.send(address).await.expect("an update");
}

async fn an_answer_too_large_for_a_datagram_comes_over_a_connection() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("large"));
    crowd(&address, &domain, "orders", 100).await;
    let proxy = Proxy::start_with_datagrams(&address).await?;
    let registry = open(&format!("dns://{}/{domain}", proxy.address())).await;
    let seen = registry
        .lookup(&service("orders"))
        .await
        .expect("an answer");
    assert_eq!(seen.len(), 100);
    let (datagrams, connections) = (proxy.datagrams(), proxy.accepted());
    assert!(
        datagrams >= 1 && connections == 1,
        "{datagrams} datagrams, {connections} connections"
    );
    Ok(())
}

async fn an_answer_too_large_for_any_message_is_an_error() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("huge"));
    crowd(&address, &domain, "orders", 4000).await;
    let registry = open(&format!("dns://{address}/{domain}")).await;
    let error = registry.lookup(&service("orders")).await;
    let error = error
        .map(|seen| seen.len())
        .expect_err("an answer that nobody can give");
    assert!(error.is_transient(), "{error:?}");
    let mut watch = registry
        .watch(service("orders").into())
        .await
        .expect("a watch");
    let first = watch.next().await.expect("an event");
    assert_ne!(
        first.expect_err("no half of it").kind(),
        ErrorKind::NotFound
    );
    Ok(())
}

async fn ten_thousand_nodes_are_found() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("crowd"));
    for number in 0..10 {
        let name = format!("service{number}");
        crowd(&address, &domain, &name, 1000).await;
        let mut update = Update::new();
        let kind = format!("_{name}._tcp.{domain}");
        update.add(
            &format!("_services._dns-sd._udp.{domain}"),
            60,
            &Data::Ptr(kind),
        );
        update.send(&address).await.expect("an update");
    }
    let registry = open(&format!("dns://{address}/{domain}")).await;
    let mut watch = registry.watch(WatchScope::All).await.expect("a watch");
    let first = watch.next().await.expect("an event");
    let count = match first.expect("an answer") {
        Event::Snapshot(all) => all.len(),
        _ => 0,
    };
    assert_eq!(count, 10_000);
    Ok(())
}
