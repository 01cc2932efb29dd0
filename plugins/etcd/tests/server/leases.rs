//! What keeping records costs the server.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use waypost_core::{Error, ErrorKind, RegisterOptions};
use waypost_testkit::{Kept, laws};

use crate::support::{calls, client, instance, name, open, own_server, register, shared};

laws! {
    registering_is_one_grant_and_one_put,
    a_hundred_leases_share_eight_streams,
    streams_are_opened_again_by_the_next_renewal,
    an_owner_that_only_writes_keeps_its_record,
    a_lease_that_the_server_forgot_is_lost,
    a_taken_over_record_inherits_no_lease,
}

async fn registering_is_one_grant_and_one_put() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let mut leases = Vec::new();
    for number in 0..10 {
        leases.push(register(&*registry, &instance("cost", number)).await);
    }
    for (method, count) in [
        ("LeaseGrant", 10),
        ("Put", 10),
        ("Txn", 0),
        ("LeaseKeepAlive", 0),
    ] {
        assert_eq!(calls(&server, method).await, count, "{method}");
    }
    assert!(
        calls(&server, "Range").await <= 1,
        "what the guard reads is not per record"
    );
    Ok(())
}

async fn a_hundred_leases_share_eight_streams() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let all: Vec<_> = (0..100).map(|number| instance("many", number)).collect();
    let mut leases = join_all(all.iter().map(|one| register(&*registry, one))).await;
    for _ in 0..3 {
        for renewed in join_all(leases.iter_mut().map(|lease| lease.renew())).await {
            renewed.expect("renew");
        }
    }
    assert_eq!(calls(&server, "LeaseKeepAlive").await, 8);
    Ok(())
}

async fn streams_are_opened_again_by_the_next_renewal() -> Kept {
    let server = own_server(&[]).await?;
    let registry = open(&format!("etcd://{}", server.address())).await;
    let all: Vec<_> = (0..50).map(|number| instance("again", number)).collect();
    let mut leases = join_all(all.iter().map(|one| register(&*registry, one))).await;
    let mut beat = async || -> Vec<Error> {
        let renewed = join_all(leases.iter_mut().map(|lease| lease.renew())).await;
        renewed.into_iter().filter_map(Result::err).collect()
    };
    assert!(beat().await.is_empty());
    server.kill().await.expect("kill");
    let failed = beat().await;
    assert_eq!(failed.len(), 50);
    let unavailable = |error: &Error| error.kind() == ErrorKind::Unavailable;
    assert!(failed.iter().all(unavailable), "{failed:?}");
    server.revive().await.expect("revive");
    let failed = beat().await;
    assert!(failed.is_empty(), "{failed:?}");
    // Eight streams; one whose connection was still the dead server's is tried once more.
    let opened = calls(&server, "LeaseKeepAlive").await;
    assert!(opened <= 16, "{opened} since the server began anew");
    Ok(())
}

async fn an_owner_that_only_writes_keeps_its_record() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/writes")).await;
    let one = instance("writes", 1);
    let options = RegisterOptions::new(Duration::from_secs(2));
    let mut lease = registry.register(&one, options).await.expect("lease");
    for step in 0..50 {
        let one = one.clone().with_version(step.to_string());
        lease.update(&one).await.expect("update");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn a_lease_that_the_server_forgot_is_lost() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/forgot")).await;
    let mut raw = client(&address).await;
    let mut leases = Vec::new();
    for number in 0..20 {
        leases.push(register(&*registry, &instance("forgot", number)).await);
    }
    // One keeps its streams open, the others lose their leases.
    leases[0].renew().await.expect("renew");
    for number in 1..20 {
        let key = format!("/forgot/forgot/forgot-{number}");
        let found = raw.get(key, None).await.expect("get");
        let lease = found.kvs().first().expect("a record").lease();
        raw.lease_revoke(lease).await.expect("revoke");
    }
    for lease in &mut leases[1..] {
        assert_eq!(
            lease.renew().await.expect_err("lost").kind(),
            ErrorKind::LeaseLost
        );
        assert_eq!(lease.lost().await.kind(), ErrorKind::LeaseLost);
    }
    leases[0].renew().await.expect("renew");
    Ok(())
}

async fn a_taken_over_record_inherits_no_lease() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("etcd://{address}/takeover")).await;
    let mut raw = client(&address).await;
    // Another program's record, on a lease that ends soon.
    let foreign = raw.lease_grant(2, None).await.expect("grant").id();
    let options = etcd_client::PutOptions::new().with_lease(foreign);
    let key = "/takeover/ours/ours-1";
    raw.put(key, "foreign", Some(options)).await.expect("put");
    let _lease = register(&*registry, &instance("ours", 1)).await;
    raw.lease_revoke(foreign).await.expect("revoke");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(
        registry.lookup(&name("ours")).await.expect("lookup").len(),
        1
    );
    Ok(())
}
