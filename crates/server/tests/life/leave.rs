//! Leaving: hooks, drain and deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use http::Request;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use waypost_memory::MemoryRegistry;
use waypost_server::Stop;

use crate::common::{fetch, get, http1, http2};
use crate::subject::{LIMIT, greeter, nodes};

#[tokio::test]
async fn draining_ends_kept_alive_connections_and_finishes_what_is_under_way() {
    let service = greeter(Arc::new(MemoryRegistry::new()))
        .propagation(Duration::from_millis(200))
        .start()
        .await
        .expect("up");
    let address = service.address();
    let (mut idle, mut busy) = (
        http1(address).await.expect("1"),
        http1(address).await.expect("2"),
    );
    let (mut old, ended) = http2(address).await.expect("3");
    for connection in [&mut idle, &mut busy] {
        let response = connection
            .send_request(get("/hello"))
            .await
            .expect("an answer");
        assert!(!response.headers().contains_key("connection"));
        crate::common::text(response).await.expect("whole");
        connection.ready().await.expect("kept alive");
    }
    let hello = Request::get(format!("http://{address}/slow")).body(Default::default());
    let slow = tokio::spawn(old.send_request(hello.expect("a request")));
    sleep(Duration::from_millis(50)).await;

    let leaving = tokio::spawn(service.stop());
    // Still served while callers learn of it; the connection is not kept.
    sleep(Duration::from_millis(100)).await;
    let response = busy.send_request(get("/hello")).await.expect("an answer");
    assert_eq!(response.headers()["connection"], "close");
    let slow = slow
        .await
        .expect("a task")
        .expect("finished, though it began before the drain");
    assert_eq!(slow.status(), 200);
    assert_eq!(crate::common::text(slow).await.expect("whole"), "slow");
    // The server says GOAWAY, which ends the connection without an error.
    timeout(LIMIT, ended)
        .await
        .expect("in time")
        .expect("a task")
        .expect("no error");
    assert!(
        timeout(LIMIT, idle.ready())
            .await
            .expect("in time")
            .is_err(),
        "closed"
    );
    leaving.await.expect("a task").expect("left");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn the_drain_ends_at_its_deadline() {
    let forever = Router::new().route(
        "/forever",
        on_get(|| async {
            sleep(Duration::from_secs(600)).await;
        }),
    );
    let service = greeter(Arc::new(MemoryRegistry::new()))
        .serve(forever)
        .drain(Duration::from_millis(200))
        .start()
        .await
        .expect("up");
    let address = service.address();
    let call = tokio::spawn(async move { fetch(address, "/forever").await });
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    service.stop().await.expect("left");
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert!(
        timeout(LIMIT, call)
            .await
            .expect("cut")
            .expect("a task")
            .is_err()
    );
}

#[tokio::test]
async fn stop_from_code_runs_the_hooks_in_order_around_the_record() {
    let registry = Arc::new(MemoryRegistry::new());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook = |moment: &'static str| {
        let (seen, registry) = (Arc::clone(&seen), Arc::clone(&registry));
        move || async move {
            let there = nodes(&*registry).await.len();
            seen.lock().expect("lock").push((moment, there));
            Ok(())
        }
    };
    let stop = Stop::new();
    let service = greeter(registry.clone())
        .stop_with(stop.clone())
        .before_start(hook("before_start"))
        .after_start(hook("after_start"))
        .before_stop(hook("before_stop"))
        .after_stop(hook("after_stop"))
        .start()
        .await
        .expect("up");
    stop.stop();
    timeout(LIMIT, service.wait())
        .await
        .expect("in time")
        .expect("left");
    assert_eq!(
        *seen.lock().expect("lock"),
        [
            ("before_start", 0),
            ("after_start", 1),
            ("before_stop", 1),
            ("after_stop", 0)
        ]
    );
}
