//! The layers, over services that count.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{Context, Deadline, Expired, Retry, RetryBudget, Why};

type Answer = Result<Response<Full<Bytes>>, Infallible>;

fn answer(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("hello"));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn request(lines: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in lines {
        request
            .headers_mut()
            .insert(*name, value.parse().expect("a value"));
    }
    request
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_late_never_reaches_the_service() {
    let service = service_fn(|_: Request<()>| async { panic!("started") as Answer });
    let service = ExpiryLayer::new().layer(service);
    let late = request(&[("grpc-timeout", "0n")]);
    let response = service.clone().oneshot(late).await.expect("answered");
    assert_eq!(response.status(), 408);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert!(
        body.starts_with(br#"{"id":"go.micro.server","code":408,"#),
        "{body:?}"
    );
    let late = request(&[
        ("grpc-timeout", "0n"),
        ("content-type", "application/grpc+proto"),
    ]);
    let response = service.oneshot(late).await.expect("answered");
    assert_eq!(
        (response.status(), &response.headers()["grpc-status"]),
        (StatusCode::OK, &"4".parse().unwrap())
    );
    assert!(
        http_body::Body::is_end_stream(response.body()),
        "trailers only"
    );
}

#[tokio::test(start_paused = true)]
async fn work_stops_at_the_deadline_and_knows_it() {
    let ticks = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&ticks);
    let service = service_fn(move |_: Request<()>| {
        let ticks = Arc::clone(&ticks);
        async move {
            assert!(Context::current().deadline().is_some());
            loop {
                sleep(Duration::from_millis(10)).await;
                ticks.fetch_add(1, Ordering::Relaxed);
            }
            #[expect(unreachable_code, reason = "says what it would answer")]
            (Ok(answer(200)) as Answer)
        }
    });
    let limit = Duration::from_millis(55);
    let service = ExpiryLayer::new()
        .with_limit(limit)
        .expect("allowed")
        .layer(service);
    // A bad header is ignored; the server's own limit holds.
    for line in [
        ("timeout", "5s"),
        ("timeout", "0"),
        ("timeout", "55000000"),
        ("timeout", "9223372036854775807"),
    ] {
        seen.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let response = service
            .clone()
            .oneshot(request(&[line]))
            .await
            .expect("answered");
        assert_eq!(response.status(), 408);
        assert!(begun.elapsed() < Duration::from_millis(60), "{line:?}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(seen.load(Ordering::Relaxed), 5, "{line:?}: it ran on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_at_the_deadline() {
    for (kind, trailers) in [("application/grpc", true), ("text/plain", false)] {
        let service =
            service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Slow)) });
        let service = ExpiryLayer::new().layer(service);
        let request = request(&[("timeout", "20000000"), ("content-type", kind)]);
        let mut body = service
            .oneshot(request)
            .await
            .expect("answered")
            .into_body();
        match body.frame().await.expect("an end") {
            Ok(frame) => assert_eq!(frame.trailers_ref().expect("trailers")["grpc-status"], "4"),
            Err(error) => assert!(!trailers && error.is::<Expired>(), "{error}"),
        }
        assert!(body.frame().await.is_none());
    }
}

/// A body that never says anything.
struct Slow;

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_tells_what_is_left_and_starts_nothing_late() {
    let service = service_fn(|request: Request<()>| async move {
        let told = Deadline::from_headers(request.headers())
            .expect("good")
            .expect("told");
        assert!(told.remaining() <= Duration::from_millis(80));
        sleep(Duration::from_secs(9)).await;
        Ok(answer(200)) as Answer
    });
    let layer = DeadlineLayer::new(Duration::from_secs(1)).expect("allowed");
    let context = Context::default().with_deadline(Deadline::after(Duration::from_millis(80)));
    let begun = Instant::now();
    let call = layer.layer(service).oneshot(Request::new(()));
    let error = context.scope(call).await.expect_err("late");
    assert!(error.is::<Expired>() && begun.elapsed() < Duration::from_millis(90));
    let never = service_fn(|_: Request<()>| async { panic!("started") as Answer });
    let context = Context::default().with_deadline(Deadline::after(Duration::from_millis(4)));
    let call = layer.layer(never).oneshot(Request::new(()));
    assert!(context.scope(call).await.expect_err("late").is::<Expired>());
    assert!(DeadlineLayer::new(Duration::ZERO).is_err());
}

/// What a node gives for each try, and the numbers that it saw.
async fn retried(
    statuses: &'static [u16],
    method: &str,
) -> (Result<Response<Full<Bytes>>, BoxError>, Vec<String>) {
    let numbers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    let service = service_fn(move |request: Request<()>| {
        let number = request
            .headers()
            .get("x-attempt")
            .map_or("-", |n| n.to_str().unwrap());
        let mut numbers = numbers.lock().unwrap();
        let status = statuses[numbers.len()];
        numbers.push(number.to_owned());
        async move {
            if status == 0 {
                sleep(Duration::from_secs(60)).await;
            }
            Ok(answer(status)) as Answer
        }
    });
    let layer = RetryLayer::new(Retry::default(), RetryBudget::default(), classify);
    let total = DeadlineLayer::new(Duration::from_secs(5)).expect("allowed");
    let mut request = Request::new(());
    *request.method_mut() = method.parse().expect("a method");
    let service = total.layer(layer.layer(service));
    let result = service.oneshot(request).await;
    let result = result.map(|response| response.map(|_| Full::default()));
    let numbers = seen.lock().unwrap().clone();
    (result, numbers)
}

#[tokio::test(start_paused = true)]
async fn what_is_safe_is_tried_again() {
    let (result, numbers) = retried(&[503, 0, 200], "GET").await;
    assert_eq!(result.expect("an answer").status(), 200);
    assert_eq!(numbers, ["-", "2", "3"]);
    let (result, numbers) = retried(&[503, 503, 503], "GET").await;
    let response = result.expect("the last answer");
    assert_eq!(response.extensions().get(), Some(&Why::Exhausted));
    assert_eq!(numbers.len(), 3);
    let (result, numbers) = retried(&[503], "POST").await;
    assert_eq!(
        (result.expect("an answer").status().as_u16(), numbers.len()),
        (503, 1)
    );
}
