//! Starting: what is found, where, and what keeps it from starting.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::time::timeout;
use waypost_core::{ErrorKind, Registry as _};
use waypost_memory::MemoryRegistry;
use waypost_server::Admin;

use crate::common::fetch;
use crate::subject::{Away, LIMIT, greeter, nodes};

#[tokio::test]
async fn a_service_is_found_where_it_answers_as_go_micro_describes_it() {
    let registry = Arc::new(MemoryRegistry::new());
    let service = greeter(registry.clone())
        .version("1.2.0")
        .metadata("zone", "a")
        .start()
        .await
        .expect("up");
    assert!(service.is_ready());
    let found = nodes(&*registry).await;
    assert_eq!(found, [service.instance().clone()]);
    let node = &found[0].node;
    assert_eq!(node.address.as_str(), service.address().to_string());
    assert!(node.id.as_str().starts_with("greeter-"));
    let admin = service.admin().expect("by default").to_string();
    for (key, value) in [
        ("protocol", "http"),
        ("server", "http"),
        ("transport", "http"),
        ("registry", "memory"),
        ("zone", "a"),
        ("waypost-admin", &admin),
    ] {
        assert_eq!(
            node.metadata.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    let told = fetch(service.address(), "/hello").await.expect("answers");
    assert_eq!(told, (200, "hello".to_owned()));
    service.stop().await.expect("left");
    assert!(nodes(&*registry).await.is_empty());
}

#[tokio::test]
async fn a_registry_that_is_down_stops_no_start_and_is_registered_with_when_it_is_back() {
    let registry = Away::new(true);
    let service = greeter(registry.clone())
        .start()
        .await
        .expect("serves anyway");
    assert!(!service.is_ready());
    assert_eq!(
        fetch(service.address(), "/hello").await.expect("answers").0,
        200
    );
    let admin = service.admin().expect("admin");
    let (status, told) = fetch(admin, "/readyz?verbose").await.expect("answers");
    assert_eq!(status, 503);
    assert!(
        told.contains("[-]registration") && told.contains("is away"),
        "{told}"
    );
    assert_eq!(fetch(admin, "/livez").await.expect("answers").0, 200);
    registry.away.store(false, SeqCst);
    timeout(LIMIT, service.ready())
        .await
        .expect("registered when it is back");
    assert_eq!(nodes(&*registry).await.len(), 1);
    assert_eq!(fetch(admin, "/readyz").await.expect("answers").0, 200);
    service.stop().await.expect("left");
}

#[tokio::test]
async fn a_required_registration_that_does_not_come_is_an_error_with_its_cause() {
    let registry = Away::new(true);
    let error = greeter(registry)
        .require_registration(Duration::from_millis(100))
        .start()
        .await
        .expect_err("required");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(
        text.contains("within 100ms") && text.contains("is away"),
        "{text}"
    );
}

#[tokio::test]
async fn two_services_live_in_one_process_and_leave_one_by_one() {
    let registry = Arc::new(MemoryRegistry::new());
    let admin = Admin::new();
    let one = greeter(registry.clone())
        .admin(&admin)
        .start()
        .await
        .expect("up");
    let other = greeter(registry.clone())
        .admin(&admin)
        .name("orders")
        .start()
        .await
        .expect("up");
    assert_ne!(one.address(), other.address());
    assert_eq!(one.admin(), other.admin(), "they share it");
    let address = one.admin().expect("admin");
    let (_, stats) = fetch(address, "/stats").await.expect("answers");
    assert!(
        stats.contains("greeter") && stats.contains("orders"),
        "{stats}"
    );
    other.stop().await.expect("left");
    assert_eq!(registry.services().await.expect("names").len(), 1);
    assert_eq!(
        fetch(one.address(), "/hello").await.expect("serves on").0,
        200
    );
    let (_, stats) = fetch(address, "/stats").await.expect("answers");
    assert!(!stats.contains("orders"), "{stats}");
    one.stop().await.expect("left");
}

#[tokio::test]
async fn a_failed_hook_aborts_the_start_or_is_returned_in_the_end() {
    let registry = Arc::new(MemoryRegistry::new());
    let failing = || async { Err("no such table".into()) };
    let error = greeter(registry.clone())
        .before_start(failing)
        .start()
        .await
        .expect_err("aborts");
    assert_eq!(error.to_string(), "before_start greeter: no such table");
    let error = greeter(registry.clone())
        .after_start(failing)
        .start()
        .await
        .expect_err("aborts");
    assert_eq!(error.to_string(), "after_start greeter: no such table");
    assert!(nodes(&*registry).await.is_empty(), "deregistered again");
    let service = greeter(registry.clone())
        .before_stop(failing)
        .start()
        .await
        .expect("up");
    let error = service.stop().await.expect_err("told");
    assert_eq!(error.to_string(), "before_stop greeter: no such table");
    assert!(nodes(&*registry).await.is_empty(), "left all the same");
}

#[tokio::test]
async fn nothing_is_registered_at_an_address_where_nobody_answers() {
    let registry = Arc::new(MemoryRegistry::new());
    let error = greeter(registry.clone())
        .advertise("127.0.0.1:1")
        .start()
        .await
        .expect_err("dead");
    assert!(
        error
            .to_string()
            .contains("nobody answers at the advertised address 127.0.0.1:1")
    );
    assert!(nodes(&*registry).await.is_empty());
    let unchecked = greeter(registry.clone())
        .advertise("127.0.0.1:1")
        .dial_check(false);
    let service = unchecked.start().await.expect("up");
    assert_eq!(nodes(&*registry).await.len(), 1);
    service.stop().await.expect("left");
}
