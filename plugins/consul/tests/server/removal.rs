//! Records that go away, by us and by others.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use waypost_core::{Change, ErrorKind, Event, RegisterOptions, WatchScope};
use waypost_testkit::containers::CONSUL;
use waypost_testkit::{Kept, laws};

use crate::support::{
    Raw, SOON, instance, name, news, open, own_agent, register, shared, snapshot, until, watch,
};

laws! {
    another_agents_record_is_taken_from_the_servers,
    a_loss_is_told_beyond_the_limit_of_queries_too,
    odd_ids_are_removed_for_good,
    a_wiped_agent_is_noticed_and_served_anew,
    an_expired_record_is_seen_again_when_it_is_registered_anew,
}

async fn another_agents_record_is_taken_from_the_servers() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let raw = Raw::new(&address, "");
    for machine in ["far-1", "far-2"] {
        let service = json!({"ID": "far", "Service": "far", "Port": 80});
        let body = json!({"Node": machine, "Address": format!("10.1.0.{}", &machine[4..]), "Service": service});
        raw.put("catalog/register", body).await;
    }
    let far = name("far");
    let all = registry.lookup(&far).await.expect("found");
    let ids: Vec<_> = all.iter().map(|one| one.node.id.as_str()).collect();
    assert_eq!(
        ids,
        ["far", "far@far-2"],
        "two instances that somebody called alike"
    );
    registry
        .deregister(&all[1].key())
        .await
        .expect("deregistered");
    assert_eq!(registry.lookup(&far).await.expect("one"), all[..1]);
    registry
        .deregister(&all[0].key())
        .await
        .expect("deregistered");
    assert_eq!(registry.lookup(&far).await.expect("none"), []);
    Ok(())
}

async fn a_loss_is_told_beyond_the_limit_of_queries_too() -> Kept {
    let address = shared().await?;
    let other = open(&format!("consul://{address}")).await;
    for (options, service) in [
        ("", "told"),
        ("queries=0", "untold"),
        ("queries=0&only=x", "out"),
    ] {
        let registry = open(&format!("consul://{address}?{options}")).await;
        let mut one = instance(service, 1);
        let mut lease = register(&*registry, &one).await;
        let quiet = timeout(Duration::from_secs(2), lease.lost()).await;
        assert!(quiet.is_err(), "{options}: {quiet:?}");
        // Our own changes are no loss.
        one = one.with_version("2.0.0");
        lease.update(&one).await.expect("updated");
        let told = tokio::join!(timeout(SOON, lease.lost()), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            other.deregister(&one.key()).await.expect("deregistered");
        });
        let error = told.0.expect("told soon");
        assert_eq!(error.kind(), ErrorKind::LeaseLost, "{options}: {error}");
    }
    Ok(())
}

async fn odd_ids_are_removed_for_good() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let raw = Raw::new(&address, "");
    let odd = name("odd-ids");
    for id in ["web/2 x", "web%2", "web?a=b#c", "web\"2", "ünï"] {
        let body = json!({"ID": id, "Name": "odd-ids", "Address": "10.0.0.1", "Port": 80});
        raw.put("agent/service/register", body).await;
        let found = async || registry.lookup(&odd).await.is_ok_and(|all| all.len() == 1);
        until(id, found).await;
        let all = registry.lookup(&odd).await.expect("found");
        assert_eq!(all[0].node.id.as_str(), id);
        registry.deregister(&all[0].key()).await.expect(id);
        assert_eq!(registry.lookup(&odd).await.expect("none"), [], "{id}");
    }
    Ok(())
}

async fn a_wiped_agent_is_noticed_and_served_anew() -> Kept {
    let mut agent = own_agent(&CONSUL, "").await?;
    let registry = open(&format!("consul://{}", agent.address())).await;
    let one = instance("wiped", 1);
    let mut lease = register(&*registry, &one).await;
    let mut watchers = Vec::new();
    for scope in [WatchScope::All, name("wiped").into()] {
        let mut watcher = watch(&*registry, scope).await;
        assert_eq!(snapshot(&mut watcher).await.len(), 1);
        watchers.push(watcher);
    }
    agent.wipe().await.expect("wiped");
    for watcher in &mut watchers {
        let error = news(watcher).await.expect_err("the connection broke");
        assert!(error.is_transient(), "{error}");
    }
    let error = lease.renew().await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert!(snapshot(&mut watcher).await.is_empty());
    let _lease = register(&*registry, &one).await;
    let changes = vec![Change::Upsert(one.into())];
    assert_eq!(
        news(&mut watcher).await.expect("news"),
        Event::Changed(changes)
    );
    Ok(())
}

/// An agent keeps the status of a check that it has, whatever a registration says.
async fn an_expired_record_is_seen_again_when_it_is_registered_anew() -> Kept {
    let address = shared().await?;
    let former = open(&format!("consul://{address}")).await;
    let record = instance("revived", 1);
    let options = RegisterOptions::new(Duration::from_secs(1));
    let lease = former.register(&record, options).await.expect("registered");
    let revived = name("revived");
    until("it has expired", || async {
        former.lookup(&revived).await.expect("an answer").is_empty()
    })
    .await;
    drop(lease);
    // Another process, and so another owner in the record.
    let later = open(&format!("consul://{address}")).await;
    let registered = timeout(SOON, register(&*later, &record)).await;
    let _lease = registered.expect("at the first try");
    assert_eq!(later.lookup(&revived).await.expect("found"), [record]);
    Ok(())
}
