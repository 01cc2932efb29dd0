//! Users, tokens, permissions.

use std::time::Duration;

use etcd_client::PermissionType;
use futures_util::future::join_all;
use tokio::time::sleep;
use waypost_core::{ErrorKind, WatchScope};
use waypost_testkit::containers::Server;
use waypost_testkit::{Kept, Missing, laws};

use crate::support::{calls, guard, instance, name, news, open, own_server, register, watch};

laws! {
    a_wrong_password_is_denied_without_a_loop,
    an_expired_token_is_renewed_once_for_all,
    permission_for_one_prefix_is_enough,
    a_user_is_no_trouble_without_authentication,
}

/// A server on which the user `ann` may read and write below `prefix`.
async fn guarded(prefix: &str, arguments: &[&str]) -> Result<Server, Missing> {
    let server = own_server(arguments).await?;
    guard(&server, PermissionType::Readwrite, prefix).await;
    Ok(server)
}

async fn a_wrong_password_is_denied_without_a_loop() -> Kept {
    let server = guarded("/", &[]).await?;
    let before = calls(&server, "Authenticate").await;
    let registry = open(&format!("etcd://ann:WR0NG@{}", server.address())).await;
    let name = name("x");
    let all = join_all((0..50).map(|_| registry.lookup(&name))).await;
    for denied in all {
        let error = denied.expect_err("denied");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!format!("{error:?}").contains("WR0NG"));
    }
    let asked = calls(&server, "Authenticate").await - before;
    assert!(asked <= 3, "fifty readers logged in {asked} times");
    assert!(!format!("{registry:?}").contains("WR0NG"));
    Ok(())
}

async fn an_expired_token_is_renewed_once_for_all() -> Kept {
    let server = guarded("/", &["--auth-token-ttl=2"]).await?;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let mut lease = register(&*registry, &instance("t", 1)).await;
    let mut watcher = watch(&*registry, WatchScope::All).await;
    news(&mut watcher).await.expect("snapshot");
    let before = calls(&server, "Authenticate").await;
    for _ in 0..2 {
        // Using a token renews it.
        sleep(Duration::from_secs(5)).await;
        let name = name("t");
        let all = join_all((0..50).map(|_| registry.lookup(&name))).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        lease.renew().await.expect("renew");
    }
    sleep(Duration::from_secs(5)).await;
    let _second = watch(&*registry, name("t")).await;
    let asked = calls(&server, "Authenticate").await - before;
    assert!(asked <= 4, "three expired tokens took {asked} logins");
    let _other = register(&*registry, &instance("t", 2)).await;
    assert!(
        news(&mut watcher).await.is_ok(),
        "a running watch is not disturbed"
    );
    Ok(())
}

async fn permission_for_one_prefix_is_enough() -> Kept {
    let server = guarded("/micro/registry/", &[]).await?;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let one = instance("p", 1);
    let mut lease = register(&*registry, &one).await;
    assert_eq!(
        registry.lookup(&name("p")).await.expect("lookup"),
        std::slice::from_ref(&one)
    );
    assert_eq!(registry.services().await.expect("services"), [name("p")]);
    let mut watcher = watch(&*registry, WatchScope::All).await;
    news(&mut watcher).await.expect("snapshot");
    lease.renew().await.expect("renew");
    registry.deregister(&one.key()).await.expect("deregister");
    news(&mut watcher).await.expect("removal");
    let elsewhere = open(&format!("etcd://ann:S3CR3T@{}/other", server.address())).await;
    let error = elsewhere.lookup(&name("p")).await.expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = elsewhere
        .watch(WatchScope::All)
        .await
        .err()
        .expect("not ours");
    assert_eq!(
        error.kind(),
        ErrorKind::Denied,
        "an empty snapshot would be a lie"
    );
    Ok(())
}

async fn a_user_is_no_trouble_without_authentication() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let _lease = register(&*registry, &instance("free", 1)).await;
    assert_eq!(registry.services().await.expect("services").len(), 1);
    Ok(())
}
