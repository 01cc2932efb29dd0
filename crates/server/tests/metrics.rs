//! What a scrape of the admin listener shows.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use waypost_memory::MemoryRegistry;
use waypost_server::Service;

use common::{fetch, until};

#[tokio::test]
async fn requests_are_measured_by_route_and_code_and_never_by_path() {
    let router = Router::new()
        .route("/hello/{name}", get(|| async { "hello" }))
        .route("/panic", get(|| async { panic!("boom") as () }));
    let service = Service::builder("greeter")
        .registry(Arc::new(MemoryRegistry::new()))
        .address("127.0.0.1:0")
        .handle_signals(false)
        .propagation(Duration::ZERO)
        .prometheus()
        .serve(router)
        .start()
        .await
        .expect("up");
    for path in ["/hello/ann", "/hello/bob", "/ann", "/bob", "/panic"] {
        fetch(service.address(), path).await.expect("an answer");
    }
    let admin = service.admin().expect("admin");
    let scrape = || async { fetch(admin, "/metrics").await.expect("answers").1 };
    // An answer is measured when its end was sent, which its caller may see first.
    until("all are measured", || async {
        scrape()
            .await
            .contains("waypost_server_requests_in_flight{service=\"greeter\"} 0")
    })
    .await;
    let told = scrape().await;
    let count = "waypost_server_request_duration_seconds_count{service=\"greeter\"";
    for line in [
        &format!("{count},endpoint=\"/hello/{{name}}\",protocol=\"http\",code=\"200\"}} 2"),
        &format!("{count},endpoint=\"unmatched\",protocol=\"http\",code=\"404\"}} 2"),
        &format!("{count},endpoint=\"/panic\",protocol=\"http\",code=\"500\"}} 1"),
        "waypost_server_panics_total{service=\"greeter\"} 1",
        "waypost_registration_state{service=\"greeter\",state=\"live\"} 1",
        "waypost_registration_state{service=\"greeter\",state=\"lost\"} 0",
    ] {
        assert!(told.lines().any(|one| one == line), "no {line} in:\n{told}");
    }
    assert!(told.contains("_bucket{"), "buckets, not quantiles:\n{told}");
    assert!(!told.contains("ann"), "{told}");
    service.stop().await.expect("left");
}
