//! What a request meets on its way to a handler and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::routing::get as on_get;
use tokio::time::sleep;
use waypost_memory::MemoryRegistry;
use waypost_resilience::{Context, Deadline};
use waypost_server::TraceContext;

use crate::common::{fetch, get, http1};
use crate::subject::greeter;

#[tokio::test]
async fn a_panic_answers_500_is_counted_and_the_next_call_is_fine() {
    let service = greeter(Arc::new(MemoryRegistry::new()))
        .start()
        .await
        .expect("up");
    let mut connection = http1(service.address()).await.expect("connects");
    let response = connection
        .send_request(get("/panic"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 500);
    let text = crate::common::text(response).await.expect("a body");
    let error: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(
        (&error["id"], &error["code"]),
        (&"greeter".into(), &500.into())
    );
    assert!(!text.contains("secret"), "{text}");
    connection.ready().await.expect("the same connection");
    let response = connection
        .send_request(get("/hello"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    let admin = service.admin().expect("admin");
    let (_, stats) = fetch(admin, "/stats").await.expect("answers");
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("json");
    assert_eq!(stats["server"]["greeter"]["panics"], 1);
    assert_eq!(stats["server"]["greeter"]["failed"], 1);
    service.stop().await.expect("left");
}

#[tokio::test]
async fn a_handler_is_told_the_callers_trace() {
    let traced = Router::new().route(
        "/trace",
        on_get(|request: axum::extract::Request| async move {
            let context = request.extensions().get::<TraceContext>();
            context.map(TraceContext::trace_id).unwrap_or_default()
        }),
    );
    let service = greeter(Arc::new(MemoryRegistry::new()))
        .serve(traced)
        .start()
        .await
        .expect("up");
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (header, told) in [
        (format!("00-{id}-00f067aa0ba902b7-01"), id),
        ("nonsense".into(), ""),
    ] {
        let mut request = get("/trace");
        request
            .headers_mut()
            .insert("traceparent", header.parse().expect("value"));
        let mut connection = http1(service.address()).await.expect("connects");
        let response = connection.send_request(request).await.expect("an answer");
        assert_eq!(crate::common::text(response).await.expect("whole"), told);
    }
    service.stop().await.expect("left");
}

#[tokio::test]
async fn work_whose_deadline_has_passed_is_never_begun_and_what_is_under_way_is_dropped() {
    let begun = Arc::new(AtomicU32::new(0));
    let ended = Arc::new(AtomicU32::new(0));
    let handler = {
        let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
        move || async move {
            begun.fetch_add(1, SeqCst);
            let left = Context::current().deadline().map(Deadline::remaining);
            sleep(Duration::from_secs(1)).await;
            ended.fetch_add(1, SeqCst);
            format!("{}", left.is_some())
        }
    };
    let service = greeter(Arc::new(MemoryRegistry::new()))
        .serve(Router::new().route("/work", on_get(handler)))
        .start()
        .await
        .expect("up");
    for (timeout, status, begins, ends) in [
        (Some("1"), 408, 0, 0),
        (Some("50000000"), 408, 1, 0),
        (Some("10000000000"), 200, 2, 1),
        (None, 200, 3, 2),
    ] {
        let mut request = get("/work");
        if let Some(nanoseconds) = timeout {
            let value = nanoseconds.parse().expect("value");
            request.headers_mut().insert("timeout", value);
        }
        let mut connection = http1(service.address()).await.expect("connects");
        let response = connection.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), status, "{timeout:?}");
        let told = crate::common::text(response).await.expect("whole");
        if status == 200 {
            assert_eq!(
                told,
                timeout.is_some().to_string(),
                "the handler sees its deadline"
            );
        } else {
            let error: serde_json::Value = serde_json::from_str(&told).expect("json");
            assert_eq!(error["code"], 408);
        }
        assert_eq!(
            (begun.load(SeqCst), ended.load(SeqCst)),
            (begins, ends),
            "{timeout:?}"
        );
    }
    service.stop().await.expect("left");
}
