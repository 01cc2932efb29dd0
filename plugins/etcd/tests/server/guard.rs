//! How the loss of a record is noticed, and what that costs.

use std::time::Duration;

use etcd_client::PermissionType;
use tokio::time::{sleep, timeout};
use waypost_core::ErrorKind;
use waypost_testkit::{Kept, laws};

use crate::support::{SOON, client, guard, instance, open, own_server, register, until, watchers};

laws! {
    own_records_of_a_service_cost_one_watch,
    a_deletion_by_hand_is_told_at_once,
    a_deletion_while_nobody_watched_is_found,
    a_writer_that_may_not_read_can_register,
}

async fn own_records_of_a_service_cost_one_watch() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut leases = Vec::new();
    for number in 0..30 {
        leases.push(register(&*registry, &instance("one", number)).await);
    }
    leases.push(register(&*registry, &instance("two", 1)).await);
    until("two services are two watches", || async {
        watchers(&server).await == 2
    })
    .await;
    sleep(Duration::from_millis(200)).await;
    assert_eq!(watchers(&server).await, 2);
    drop(leases);
    until("no lease, no watch", || async {
        watchers(&server).await == 0
    })
    .await;
    Ok(())
}

async fn a_deletion_by_hand_is_told_at_once() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut raw = client(&server.address()).await;
    let mut leases = Vec::new();
    for number in 0..3 {
        leases.push(register(&*registry, &instance("kept", number)).await);
        raw.delete(format!("/micro/registry/kept/kept-{number}"), None)
            .await
            .expect("delete");
        let lost = timeout(SOON, leases[number].lost()).await.expect("told");
        assert_eq!(lost.kind(), ErrorKind::LeaseLost);
    }
    let mut back = register(&*registry, &instance("kept", 0)).await;
    back.renew().await.expect("the new lease holds");
    let still = timeout(Duration::from_millis(300), back.lost()).await;
    assert!(still.is_err(), "an old deletion is no loss of a new record");
    Ok(())
}

async fn a_deletion_while_nobody_watched_is_found() -> Kept {
    let server = own_server(&[]).await?;
    let url = format!("etcd://{}", server.address());
    let (registry, own) = (
        open(&url).await,
        ["/micro/registry/a/a-1", "/micro/registry/b/b-1"],
    );
    let mut deleted = register(&*registry, &instance("a", 1)).await;
    let mut kept = register(&*registry, &instance("b", 1)).await;
    let mut several = register(&*registry, &instance("b", 2)).await;
    until("both services are watched", || async {
        watchers(&server).await == 2
    })
    .await;
    server.kill().await.expect("kill");
    server.revive().await.expect("revive");
    client(&server.address())
        .await
        .delete(own[0], None)
        .await
        .expect("delete");
    // The stream is gone; the next renewals have the keys looked at and watched again.
    until("renewals find out", || async {
        watchers(&server).await == 0
    })
    .await;
    kept.renew().await.expect("renew");
    let lost = timeout(SOON, deleted.lost()).await.expect("found");
    assert_eq!(lost.kind(), ErrorKind::LeaseLost);
    assert!(deleted.renew().await.is_err());
    several.renew().await.expect("renew");
    assert!(
        timeout(Duration::from_millis(300), kept.lost())
            .await
            .is_err()
    );
    Ok(())
}

async fn a_writer_that_may_not_read_can_register() -> Kept {
    let server = own_server(&[]).await?;
    guard(&server, PermissionType::Write, "/micro/registry/").await;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let mut lease = register(&*registry, &instance("silent", 1)).await;
    lease.renew().await.expect("renew");
    let error = registry.services().await.expect_err("may not read");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    lease.revoke().await.expect("revoke");
    Ok(())
}
