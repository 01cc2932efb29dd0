//! Snapshots and what follows them.

use std::sync::Arc;

use etcd_client::PutOptions;
use waypost_core::{Change, Event, WatchScope};
use waypost_plugin_kit::codec;
use waypost_testkit::{Kept, laws};

use crate::support::{client, instance, name, news, open, own_server, register, shared, watch};

laws! {
    more_than_four_mebibytes_with_hostile_records_are_all_read,
    a_record_larger_than_any_answer_is_stepped_over,
    a_lease_with_a_hundred_keys_ends_in_one_change,
    a_wiped_server_ends_the_watch,
    a_compacted_history_is_no_trouble,
    each_registration_is_told_once,
}

async fn more_than_four_mebibytes_with_hostile_records_are_all_read() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/bulk")).await;
    let raw = client(&address).await;
    let pair = ("text", "x".repeat(2000));
    let all: Vec<_> = (0..2500)
        .map(|number| instance("bulk", number).with_metadata(pair.0, pair.1.clone()))
        .collect();
    let puts = all.iter().map(|one| {
        let mut raw = raw.kv_client();
        async move {
            let key = format!("/bulk/bulk/{}", one.node.id);
            raw.put(key, codec::encode(one), None).await.expect("put");
        }
    });
    futures_util::future::join_all(puts).await;
    for node in ["bulk-0-x", "bulk-1-x", "zzz"] {
        let hostile = vec![b'x'; 1_500_000];
        let key = format!("/bulk/bulk/{node}");
        raw.kv_client().put(key, hostile, None).await.expect("put");
    }
    let seen = registry.lookup(&name("bulk")).await.expect("lookup");
    assert_eq!((seen.len(), registry.skipped().total()), (2500, 3));
    for scope in [WatchScope::All, name("bulk").into()] {
        let mut watcher = watch(&*registry, scope).await;
        assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 2500));
    }
    Ok(())
}

async fn a_record_larger_than_any_answer_is_stepped_over() -> Kept {
    let server = own_server(&["--max-request-bytes=8000000"]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut raw = client(&server.address()).await;
    let _leases = [
        register(&*registry, &instance("huge", 1)).await,
        register(&*registry, &instance("huge", 3)).await,
    ];
    let huge = vec![b'x'; 5_000_000];
    raw.put("/micro/registry/huge/huge-2", huge, None)
        .await
        .expect("put");
    let seen = registry.lookup(&name("huge")).await.expect("lookup");
    assert_eq!(seen, [instance("huge", 1), instance("huge", 3)]);
    assert_eq!(registry.skipped().total(), 1);
    let mut watcher = watch(&*registry, name("huge")).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 2));
    Ok(())
}

async fn a_lease_with_a_hundred_keys_ends_in_one_change() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/hundred")).await;
    let mut raw = client(&address).await;
    let lease = raw.lease_grant(60, None).await.expect("grant").id();
    for number in 0..100 {
        let one = instance("batch", number);
        let key = format!("/hundred/batch/{}", one.node.id);
        let options = PutOptions::new().with_lease(lease);
        raw.put(key, codec::encode(&one), Some(options))
            .await
            .expect("put");
    }
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 100));
    raw.lease_revoke(lease).await.expect("revoke");
    assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(all)) if all.len() == 100));
    Ok(())
}

async fn a_wiped_server_ends_the_watch() -> Kept {
    let mut server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let _lease = register(&*registry, &instance("wiped", 1)).await;
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 1));
    server.wipe().await.expect("wipe");
    let error = news(&mut watcher)
        .await
        .expect_err("the server is another one");
    assert!(error.is_transient(), "{error:?}");
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert_eq!(
        news(&mut watcher).await.expect("event"),
        Event::Snapshot(Vec::new())
    );
    let back = instance("wiped", 2);
    let _lease = register(&*registry, &back).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(_))));
    Ok(())
}

async fn a_compacted_history_is_no_trouble() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut raw = client(&server.address()).await;
    let lease = register(&*registry, &instance("short", 1)).await;
    let mut watcher = watch(&*registry, WatchScope::All).await;
    news(&mut watcher).await.expect("snapshot");
    let revision = raw.put("/else", "x", None).await.expect("put");
    let revision = revision.header().expect("a header").revision();
    raw.compact(revision, None).await.expect("compact");
    // The deletion comes without the record that it deletes.
    lease.revoke().await.expect("revoke");
    assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(all)) if all.len() == 1));
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert_eq!(
        news(&mut watcher).await.expect("event"),
        Event::Snapshot(Vec::new())
    );
    Ok(())
}

async fn each_registration_is_told_once() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/told")).await;
    let mut watcher = watch(&*registry, WatchScope::All).await;
    news(&mut watcher).await.expect("snapshot");
    for number in 0..20 {
        let one = instance("told", number);
        let _lease = register(&*registry, &one).await;
        let told = news(&mut watcher).await.expect("event");
        assert_eq!(told, Event::Changed(vec![Change::Upsert(Arc::new(one))]));
    }
    Ok(())
}
