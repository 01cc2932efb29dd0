//! Wrong values.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::ErrorKind;
use waypost_memory::MemoryRegistry;
use waypost_server::{Check, Service, ServiceBuilder};

use crate::subject::{greeter, nodes, router};

type Change = fn(ServiceBuilder) -> ServiceBuilder;

#[tokio::test]
async fn every_wrong_value_is_named_with_its_rule() {
    let with = |change: Change| {
        change(greeter(Arc::new(MemoryRegistry::new())))
            .build()
            .map(drop)
    };
    let cases: &[(Change, &str)] = &[
        (|b| b.name(""), "service name \"\" is empty"),
        (|b| b.name("a/b"), "service name \"a/b\" contains"),
        (|b| b.id("a b"), "node id \"a b\" contains"),
        (|b| b.version("x\n"), "version"),
        (|b| b.metadata("", "x"), "metadata key"),
        (|b| b.metadata("k", "a\r\nb"), "metadata value of \"k\""),
        (|b| b.register_ttl(Duration::ZERO), "register ttl is 0"),
        (|b| b.register_ttl(Duration::from_nanos(1)), "below"),
        (
            |b| b.register_interval(Duration::from_secs(30)),
            "not below the ttl",
        ),
        (
            |b| b.register_interval(Duration::ZERO),
            "register interval is 0",
        ),
        (|b| b.advertise("0.0.0.0:80"), "unspecified"),
        (|b| b.advertise("169.254.1.1"), "link-local"),
        (|b| b.address("80"), "listen address \"80\" has no port"),
        (|b| b.address("x:99999"), "no port from 0 to 65535"),
        (|b| b.admin_address("http://x"), "is a URL"),
        (|b| b.drain(Duration::from_secs(1_000_000)), "drain is over"),
        (
            |b| b.require_registration(Duration::ZERO),
            "require_registration is 0",
        ),
        (
            |b| b.check(Check::new("c", || async { Ok(()) }).every(Duration::ZERO)),
            "health check",
        ),
        (
            |b| {
                let check = || Check::new("c", || async { Ok(()) });
                b.check(check()).check(check())
            },
            "health check \"c\" is given twice",
        ),
    ];
    for (change, told) in cases {
        let error = with(*change).expect_err(told);
        assert!(
            error.to_string().contains(told),
            "{error} does not say {told:?}"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let registry = || Arc::new(MemoryRegistry::new());
    let bare = Service::builder("greeter")
        .registry(registry())
        .build()
        .expect_err("serves nothing");
    assert!(bare.to_string().contains("it serves nothing"), "{bare}");
    let alone = Service::builder("greeter")
        .serve(router())
        .build()
        .expect_err("no registry");
    assert!(alone.to_string().contains("it has no registry"), "{alone}");
}

#[tokio::test]
async fn a_taken_port_is_named_and_leaves_nothing_behind() {
    let registry = Arc::new(MemoryRegistry::new());
    let first = greeter(registry.clone()).start().await.expect("up");
    let taken = first.address().to_string();
    let error = greeter(registry.clone())
        .address(&taken)
        .start()
        .await
        .expect_err("taken");
    let told =
        format!("service greeter: cannot listen on \"{taken}\": another process listens there");
    assert_eq!(error.to_string(), told);
    assert_eq!(nodes(&*registry).await.len(), 1);
    let error = greeter(registry.clone())
        .admin_address(&taken)
        .start()
        .await
        .expect_err("taken");
    assert!(
        error
            .to_string()
            .starts_with(&format!("admin {taken}: cannot listen")),
        "{error}"
    );
    assert_eq!(nodes(&*registry).await.len(), 1);
    first.stop().await.expect("left");
}
