//! Users and access lists.

use waypost_core::{ErrorKind, RegisterOptions, Result, WatchScope};
use waypost_testkit::containers::zookeeper_address;
use waypost_testkit::{Kept, laws};
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use crate::help::{LEAST, PERSISTENT, client, instance, name, open, register};

laws! {
    only_its_user_changes_what_a_user_created,
    an_open_list_lets_everybody_write,
    what_cannot_be_read_is_denied_and_not_empty,
}

fn denied<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("S3CR3T"));
}

async fn only_its_user_changes_what_a_user_created() -> Kept {
    let address = zookeeper_address().await?;
    let url = |user: &str| format!("zookeeper://{user}@{address}/guarded/registry");
    let ann = open(&url("ann:S3CR3T")).await;
    let one = instance("owned", 1);
    let mut lease = register(&*ann, &one).await;
    let raw = client(&address).await;
    for path in ["/guarded/registry/owned", "/guarded/registry/owned/owned-1"] {
        let (acl, _) = raw.get_acl(path).await.expect("acl");
        assert_eq!(acl.len(), 2, "{path}: {acl:?}");
        assert!(acl.contains(&Acl::new(Permission::READ, AuthId::anyone())));
        assert!(
            acl.iter()
                .any(|one| one.scheme() == "digest" && one.id().starts_with("ann:"))
        );
    }
    let nobody = open(&format!("zookeeper://{address}/guarded/registry")).await;
    // A wrong password is another user: the scheme knows no users of its own.
    let wrong = open(&url("ann:S3CR3T2")).await;
    for other in [&nobody, &wrong] {
        let seen = other.lookup(&one.service).await.expect("everybody reads");
        assert_eq!(seen, std::slice::from_ref(&one));
        let options = RegisterOptions::new(LEAST);
        denied(other.register(&one, options).await);
        denied(other.register(&instance("owned", 2), options).await);
        denied(other.register(&instance("new", 1), options).await);
        denied(other.deregister(&one.key()).await);
    }
    lease
        .update(&one.clone().with_version("2"))
        .await
        .expect("update");
    let again = open(&url("ann:S3CR3T")).await;
    let taken = register(&*again, &one).await;
    assert_eq!(
        lease.renew().await.expect_err("lost").kind(),
        ErrorKind::LeaseLost
    );
    taken.revoke().await.expect("revoke");
    Ok(())
}

async fn an_open_list_lets_everybody_write() -> Kept {
    let address = zookeeper_address().await?;
    let ann = open(&format!(
        "zookeeper://ann:S3CR3T@{address}/shared/registry?acl=open"
    ))
    .await;
    let one = instance("common", 1);
    let _lease = register(&*ann, &one).await;
    let nobody = open(&format!("zookeeper://{address}/shared/registry")).await;
    nobody.deregister(&one.key()).await.expect("deregister");
    Ok(())
}

async fn what_cannot_be_read_is_denied_and_not_empty() -> Kept {
    let address = zookeeper_address().await?;
    let raw = client(&address).await;
    let closed = [Acl::new(Permission::READ, AuthId::new("digest", "x:y"))];
    let unreadable = CreateMode::Persistent.with_acls(Acls::new(&closed));
    raw.mkdir("/hidden", &PERSISTENT).await.expect("mkdir");
    raw.create("/hidden/closed", b"", &unreadable)
        .await
        .expect("create");
    raw.mkdir("/hidden/half", &PERSISTENT).await.expect("mkdir");
    raw.create("/hidden/half/half-1", b"{}", &unreadable)
        .await
        .expect("create");
    let registry = open(&format!("zookeeper://{address}/hidden")).await;
    for service in ["closed", "half"] {
        denied(registry.lookup(&name(service)).await);
        let watched = registry.watch(WatchScope::Service(name(service))).await;
        assert_eq!(
            watched.err().map(|error| error.kind()),
            Some(ErrorKind::Denied)
        );
    }
    denied(registry.services().await);
    // One good record shows that the rest is merely not for us.
    let _lease = register(&*registry, &instance("plain", 1)).await;
    assert_eq!(
        registry.services().await.expect("services"),
        [name("plain")]
    );
    Ok(())
}
