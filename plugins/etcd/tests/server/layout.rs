//! Where records stand, and what go-micro wrote.

use waypost_core::{Change, Event, WatchScope};
use waypost_plugin_kit::codec;
use waypost_testkit::{Kept, laws};

use crate::support::{
    client, instance, name, news, open, own_server, register, shared, until, watch, watchers,
};

laws! {
    a_record_is_go_micros,
    etcdctl_reads_what_we_write_and_we_what_it_writes,
    older_layouts_are_found_and_the_current_one_wins,
    a_scope_is_one_watch_at_the_server,
    an_older_layout_is_watched_where_something_stands_in_it,
    without_legacy_nothing_older_is_read,
}

async fn a_record_is_go_micros() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}")).await;
    let lease = register(&*registry, &instance("wire", 1)).await;
    let mut raw = client(&address).await;
    let found = raw
        .get("/micro/registry/wire/wire-1", None)
        .await
        .expect("get");
    let record = found.kvs().first().expect("a record");
    assert_eq!(
        record.value_str().expect("text"),
        r#"{"name":"wire","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"id":"wire-1","address":"10.0.0.1:8080","metadata":null}]}"#
    );
    let attached = raw
        .lease_time_to_live(record.lease(), None)
        .await
        .expect("lease");
    assert_eq!(attached.granted_ttl(), 10);
    lease.revoke().await.expect("revoke");
    let gone = raw
        .lease_time_to_live(record.lease(), None)
        .await
        .expect("lease");
    assert_eq!(gone.ttl(), -1, "the lease is revoked, not left");
    Ok(())
}

async fn etcdctl_reads_what_we_write_and_we_what_it_writes() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let one = instance("foreign", 1);
    let lease = register(&*registry, &one).await;
    let key = "/micro/registry/foreign/foreign-1";
    let said = server.exec(&["etcdctl", "get", key]).await?;
    let record = r#"{"name":"foreign","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"id":"foreign-1","address":"10.0.0.1:8080","metadata":null}]}"#;
    assert_eq!(said.stdout, format!("{key}\n{record}\n"), "{said:?}");
    let leases = server.exec(&["etcdctl", "lease", "list"]).await?;
    let id = leases.stdout.lines().nth(1).unwrap_or_default();
    let attached = ["etcdctl", "lease", "timetolive", id, "--keys"];
    let said = server.exec(&attached).await?.stdout;
    let granted = said.contains("granted with TTL(10s)");
    assert!(granted && said.contains(key), "{said}");
    lease.revoke().await?;

    // As it is written by hand, with fields that nobody knows.
    let (other, bad) = (key.replace("-1", "-2"), key.replace("-1", "-3"));
    let theirs = r#"{"Name":"foreign","version":"2","hint":{},"nodes":[{"id":"foreign-2","address":"10.0.0.2:80"}]}"#;
    for (key, value) in [(&other, theirs), (&bad, "{")] {
        let said = server.exec(&["etcdctl", "put", key, value]).await?;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let all = registry.lookup(&name("foreign")).await?;
    let shown: Vec<_> = all
        .iter()
        .map(|one| (one.version.as_str(), one.node.address.as_str()))
        .collect();
    assert_eq!(shown, [("2", "10.0.0.2:80")]);
    assert_eq!(registry.skipped().total(), 1);
    Ok(())
}

async fn older_layouts_are_found_and_the_current_one_wins() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}")).await;
    let mut raw = client(&address).await;
    let versions =
        ["first", "domain", "current"].map(|version| instance("olden", 1).with_version(version));
    for (key, one) in [
        ("/micro-registry/olden/olden-1", &versions[0]),
        ("/micro/registry/micro/olden/olden-1", &versions[1]),
        ("/micro/registry/olden/olden-1", &versions[2]),
    ] {
        raw.put(key, codec::encode(one), None).await.expect("put");
        let seen = registry.lookup(&name("olden")).await.expect("lookup");
        assert_eq!(seen, std::slice::from_ref(one), "{key}");
    }
    let other = codec::encode(&instance("elsewhere", 1));
    let key = "/micro/registry/other-domain/elsewhere/elsewhere-1";
    raw.put(key, other, None).await.expect("put");
    let services = registry.services().await.expect("services");
    assert!(services.contains(&name("olden")) && !services.contains(&name("elsewhere")));
    registry
        .deregister(&versions[0].key())
        .await
        .expect("deregister");
    assert_eq!(registry.lookup(&name("olden")).await.expect("lookup"), []);
    Ok(())
}

async fn a_scope_is_one_watch_at_the_server() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let scopes = [WatchScope::All, name("a").into(), name("b").into()];
    let mut open = Vec::new();
    for (count, scope) in (1..).zip(scopes) {
        open.push(watch(&*registry, scope).await);
        assert_eq!(watchers(&server).await, count);
    }
    drop(open);
    until("dropped watchers are watched no more", || async {
        watchers(&server).await == 0
    })
    .await;
    Ok(())
}

async fn an_older_layout_is_watched_where_something_stands_in_it() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut raw = client(&server.address()).await;
    let (old, new) = (instance("old", 1), instance("old", 2));
    let key = "/micro-registry/old/old-1";
    raw.put(key, codec::encode(&old), None).await.expect("put");
    for scope in [WatchScope::All, name("old").into()] {
        raw.put(key, codec::encode(&old), None).await.expect("put");
        let mut watcher = watch(&*registry, scope).await;
        assert_eq!(watchers(&server).await, 2);
        assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if *all[0] == old));
        raw.delete(key, None).await.expect("delete");
        let gone = news(&mut watcher).await.expect("event");
        assert_eq!(gone, Event::Changed(vec![Change::Remove(old.key())]));
        let lease = register(&*registry, &new).await;
        assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(_))));
        lease.revoke().await.expect("revoke");
        drop(watcher);
        until("no watch is left", || async {
            watchers(&server).await == 0
        })
        .await;
    }
    Ok(())
}

async fn without_legacy_nothing_older_is_read() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}?legacy=false")).await;
    let mut raw = client(&address).await;
    for key in [
        "/micro-registry/bygone/bygone-1",
        "/micro/registry/micro/bygone/bygone-1",
    ] {
        let value = codec::encode(&instance("bygone", 1));
        raw.put(key, value, None).await.expect("put");
    }
    assert_eq!(registry.lookup(&name("bygone")).await.expect("lookup"), []);
    Ok(())
}
