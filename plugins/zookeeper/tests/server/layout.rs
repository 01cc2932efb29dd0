//! Where records stand, and what go-micro and others put there.

use waypost_core::{Change, Event, WatchScope};
use waypost_testkit::containers::zookeeper_address;
use waypost_testkit::{Kept, laws};
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use crate::help::{PERSISTENT, at, client, instance, name, news, register, stat, until, watch};

laws! {
    a_record_is_go_micros_and_ephemeral,
    what_go_micro_wrote_is_found,
    a_persistent_record_is_taken_over,
    hostile_znodes_hide_nothing,
    names_that_share_a_znode_are_told_apart,
}

async fn a_record_is_go_micros_and_ephemeral() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let one = instance("wire", 1);
    let lease = register(&*registry, &one).await;
    let (data, found) = raw
        .get_data("/micro-registry/wire/wire-1")
        .await
        .expect("a record");
    assert_eq!(
        String::from_utf8(data).expect("text"),
        r#"{"name":"wire","version":"1.0.0","metadata":null,"endpoints":null,"nodes":[{"id":"wire-1","address":"10.0.0.1:8080","metadata":null}]}"#
    );
    assert_ne!(found.ephemeral_owner, 0, "it ends with its session");
    let (acl, _) = raw
        .get_acl("/micro-registry/wire/wire-1")
        .await
        .expect("acl");
    assert_eq!(acl, Acls::anyone_all().to_vec());
    for above in ["/micro-registry", "/micro-registry/wire"] {
        let (data, found) = raw.get_data(above).await.expect("a directory");
        assert_eq!((data.len(), found.ephemeral_owner), (0, 0), "{above}");
    }
    lease.revoke().await.expect("revoke");
    assert_eq!(stat(&raw, &one).await, None);
    let left = raw.check_stat("/micro-registry/wire").await.expect("stat");
    assert!(
        left.is_some(),
        "the service's znode stays, as go-micro leaves it"
    );
    Ok(())
}

async fn what_go_micro_wrote_is_found() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let mut watcher = watch(&*registry, name("go.micro.srv.greeter")).await;
    assert_eq!(
        news(&mut watcher).await.expect("event"),
        Event::Snapshot(vec![])
    );
    let directory = "/micro-registry/go.micro.srv.greeter";
    raw.mkdir(directory, &PERSISTENT).await.expect("mkdir");
    // go-micro 1.0's port beside the host, and a later one's order of fields.
    let all: [(&str, &[u8]); 2] = [
        ("old", br#"{"name":"go.micro.srv.greeter","version":"1","metadata":null,"endpoints":[],"nodes":[{"id":"old","address":"10.0.0.1","port":80}]}"#),
        ("new", br#"{"name":"go.micro.srv.greeter","version":"2","nodes":[{"metadata":{"protocol":"grpc"},"id":"new","address":"10.0.0.2:80"}]}"#),
    ];
    for (number, (node, data)) in all.into_iter().enumerate() {
        let path = format!("{directory}/{node}");
        raw.create(&path, data, &PERSISTENT).await.expect("create");
        assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(_))));
        let seen = registry.lookup(&name("go.micro.srv.greeter")).await;
        assert_eq!(seen.expect("lookup").len(), number + 1);
    }
    let seen = registry
        .lookup(&name("go.micro.srv.greeter"))
        .await
        .expect("lookup");
    let addresses: Vec<_> = seen.iter().map(|one| one.node.address.as_str()).collect();
    assert_eq!(addresses, ["10.0.0.2:80", "10.0.0.1:80"]);
    // go-micro changes and removes whatever the version.
    let changed =
        br#"{"name":"go.micro.srv.greeter","nodes":[{"id":"new","address":"10.0.0.3:80"}]}"#;
    raw.set_data(&format!("{directory}/new"), changed, None)
        .await
        .expect("set");
    assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(all)) if all.len() == 1));
    raw.delete(&format!("{directory}/old"), None)
        .await
        .expect("delete");
    let gone = Event::Changed(vec![Change::Remove(seen[1].key())]);
    assert_eq!(news(&mut watcher).await.expect("event"), gone);
    Ok(())
}

async fn a_persistent_record_is_taken_over() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let one = instance("inherited", 1);
    let left = waypost_plugin_kit::codec::encode(&one);
    raw.mkdir("/micro-registry/inherited", &PERSISTENT)
        .await
        .expect("mkdir");
    raw.set_data("/micro-registry/inherited", b"somebody's", None)
        .await
        .expect("set");
    let path = "/micro-registry/inherited/inherited-1";
    raw.create(path, &left, &PERSISTENT).await.expect("create");
    let lease = register(&*registry, &one).await;
    let found = stat(&raw, &one).await.expect("a record");
    assert_ne!(
        found.ephemeral_owner, 0,
        "else it would outlive us for ever"
    );
    let (above, _) = raw
        .get_data("/micro-registry/inherited")
        .await
        .expect("data");
    assert_eq!(above, b"somebody's", "what stands above keeps its content");
    lease.revoke().await.expect("revoke");
    assert_eq!(stat(&raw, &one).await, None);
    Ok(())
}

async fn hostile_znodes_hide_nothing() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    let directory = "/micro-registry/besieged";
    raw.mkdir(directory, &PERSISTENT).await.expect("mkdir");
    let closed = [Acl::new(Permission::READ, AuthId::new("digest", "x:y"))];
    let unreadable = CreateMode::Persistent.with_acls(Acls::new(&closed));
    let huge = vec![b'['; 1_000_000];
    for (node, data, options) in [
        ("huge", huge.as_slice(), &PERSISTENT),
        ("empty", b"", &PERSISTENT),
        ("secret", b"{}", &unreadable),
        ("*", b"\xff\xfe", &PERSISTENT),
        ("a b", b"null", &PERSISTENT),
    ] {
        let path = format!("{directory}/{node}");
        raw.create(&path, data, options).await.expect(node);
    }
    raw.create(&format!("{directory}/empty/below"), b"{}", &PERSISTENT)
        .await
        .expect("below");
    raw.create("/micro-registry/sealed", b"", &unreadable)
        .await
        .expect("sealed");
    let good = instance("besieged", 1);
    let _lease = register(&*registry, &good).await;
    let seen = registry.lookup(&name("besieged")).await.expect("lookup");
    assert_eq!(seen, std::slice::from_ref(&good));
    assert_eq!(registry.skipped().total(), 5);
    for scope in [WatchScope::All, name("besieged").into()] {
        let mut watcher = watch(&*registry, scope).await;
        let first = news(&mut watcher).await.expect("event");
        let all = match first {
            Event::Snapshot(all) => all,
            _ => Vec::new(),
        };
        assert!(all.iter().any(|one| **one == good));
        let bad = all.iter().filter(|one| one.service == good.service);
        assert_eq!(bad.count(), 1);
    }
    let places: Vec<_> = registry
        .skipped()
        .recent()
        .iter()
        .map(|one| one.place.clone())
        .collect();
    assert!(
        places.contains(&"/micro-registry/sealed".to_owned()),
        "{places:?}"
    );
    Ok(())
}

async fn names_that_share_a_znode_are_told_apart() -> Kept {
    let address = zookeeper_address().await?;
    let (registry, raw) = (at(&address).await, client(&address).await);
    raw.mkdir("/micro-registry/a-b", &PERSISTENT)
        .await
        .expect("mkdir");
    let record = br#"{"name":"a/b","nodes":[{"id":"n","address":"10.0.0.1:80"}]}"#;
    raw.create("/micro-registry/a-b/n", record, &PERSISTENT)
        .await
        .expect("create");
    assert_eq!(
        registry.lookup(&name("a/b")).await.expect("lookup").len(),
        1
    );
    assert_eq!(registry.lookup(&name("a-b")).await.expect("lookup"), []);
    let services = registry.services().await.expect("services");
    assert!(services.contains(&name("a/b")) && !services.contains(&name("a-b")));
    let mut watcher = watch(&*registry, name("a/b")).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 1));
    let key = registry.lookup(&name("a/b")).await.expect("lookup")[0].key();
    registry.deregister(&key).await.expect("deregister");
    let gone = Event::Changed(vec![Change::Remove(key)]);
    assert_eq!(news(&mut watcher).await.expect("event"), gone);
    until("nothing is left", || async {
        registry
            .lookup(&name("a/b"))
            .await
            .expect("lookup")
            .is_empty()
    })
    .await;
    Ok(())
}
