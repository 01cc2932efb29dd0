//! gRPC services, called as tonic's and go-micro's clients call them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and some handlers panic"
)]

mod common;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::server::NamedService;
use waypost_memory::MemoryRegistry;
use waypost_server::{Check, Running, Service, ServiceBuilder};

use common::{fetch, http2, until};

/// Says which path it was called by; as plain as what tonic generates, and written by hand.
#[derive(Debug, Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "helloworld.Greeter";
}

impl tower_service::Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let body = match path {
            "/helloworld.Greeter/Hello" => Body::new(Full::from(message(path))),
            "/helloworld.Greeter/Stream" => Body::new(Wild(Some(message(path)))),
            "/helloworld.Greeter/Panic" => panic!("a secret of the handler's"),
            _ => {
                let response = tonic::Status::unimplemented("").into_http();
                return ready(Ok(response));
            }
        };
        let mut response = Response::new(body);
        response
            .headers_mut()
            .insert("grpc-status", "0".parse().expect("value"));
        ready(Ok(response))
    }
}

/// One message, then a panic.
struct Wild(Option<Bytes>);

impl http_body::Body for Wild {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.0.take() {
            Some(message) => Poll::Ready(Some(Ok(Frame::data(message)))),
            None => panic!("in the middle of a stream"),
        }
    }
}

/// A gRPC frame around `text`.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short");
    let frame = [&[0][..], &length.to_be_bytes(), text.as_bytes()];
    frame.concat().into()
}

/// Calls `path`; the first message, and headers and trailers as one.
async fn call(address: SocketAddr, path: &str, body: &str) -> (Bytes, HeaderMap) {
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(Full::from(message(body)))
        .expect("a request");
    let (mut connection, _) = http2(address).await.expect("connects");
    let response = connection.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut headers = response.headers().clone();
    let body = response.into_body().collect().await.expect("a whole body");
    headers.extend(body.trailers().cloned().unwrap_or_default());
    (body.to_bytes(), headers)
}

async fn status(address: SocketAddr, path: &str) -> String {
    let (_, headers) = call(address, path, "").await;
    headers["grpc-status"].to_str().expect("text").to_owned()
}

fn greeter() -> ServiceBuilder {
    Service::builder("greeter")
        .registry(Arc::new(MemoryRegistry::new()))
        .address("127.0.0.1:0")
        .handle_signals(false)
        .propagation(Duration::ZERO)
        .serve_grpc(Greeter)
}

async fn up(builder: ServiceBuilder) -> Running {
    builder.start().await.expect("up")
}

#[tokio::test]
async fn calls_find_their_service_whatever_package_they_name() {
    let service = up(greeter()).await;
    for path in [
        "/helloworld.Greeter/Hello",
        "/go.micro.srv.greeter.Greeter/Hello",
        "/Greeter/Hello",
    ] {
        let (told, headers) = call(service.address(), path, "").await;
        assert_eq!(headers["grpc-status"], "0", "{path}");
        assert_eq!(told, message("/helloworld.Greeter/Hello"));
    }
    for path in ["/helloworld.Other/Hello", "/helloworld.Greeter/Other", "/"] {
        assert_eq!(status(service.address(), path).await, "12", "{path}");
    }
    service.stop().await.expect("left");
}

#[tokio::test]
async fn grpc_and_http_share_a_port_and_the_node_says_grpc() {
    let router = Router::new().route("/hello", get(|| async { "hello" }));
    let service = up(greeter().serve(router)).await;
    for key in ["protocol", "server", "transport"] {
        assert_eq!(service.instance().node.metadata[key], "grpc");
    }
    assert_eq!(status(service.address(), "/Greeter/Hello").await, "0");
    let told = fetch(service.address(), "/hello").await.expect("answers");
    assert_eq!(told, (200, "hello".to_owned()));
    service.stop().await.expect("left");
    let alone = up(greeter()).await;
    assert_eq!(
        fetch(alone.address(), "/hello").await.expect("answers").0,
        404
    );
    alone.stop().await.expect("left");
}

#[tokio::test]
async fn a_panic_is_status_13_in_calls_and_in_streams() {
    let service = up(greeter()).await;
    for path in ["/Greeter/Panic", "/Greeter/Stream"] {
        let (_, headers) = call(service.address(), path, "").await;
        // A stream's own headers had said 0; trailers have the last word.
        let status = headers.get_all("grpc-status").iter().next_back();
        assert_eq!(status.expect("a status"), "13", "{path}");
        let text = headers["grpc-message"].to_str().expect("text");
        let error: serde_json::Value = serde_json::from_str(text).expect("go-micro's object");
        assert_eq!(
            (&error["id"], &error["code"]),
            (&"greeter".into(), &500.into())
        );
        assert!(!text.contains("secret"), "{text}");
    }
    assert_eq!(status(service.address(), "/Greeter/Hello").await, "0");
    service.stop().await.expect("left");
}

#[tokio::test]
async fn the_health_service_follows_readiness() {
    let well = Arc::new(AtomicBool::new(true));
    let check = {
        let well = Arc::clone(&well);
        Check::new("db", move || {
            let well = well.load(SeqCst);
            async move { if well { Ok(()) } else { Err("no".into()) } }
        })
        .every(Duration::from_millis(20))
    };
    let service = up(greeter().check(check)).await;
    let address = service.address();
    // The field `service` of a request: whole server, and by name.
    let asked = ["".to_owned(), format!("\n\u{12}{}", Greeter::NAME)];
    let serving = |text: String, code: u8| async move {
        let (told, _) = call(address, "/grpc.health.v1.Health/Check", &text).await;
        told.as_ref() == [0, 0, 0, 0, 2, 8, code]
    };
    for name in &asked {
        until("serving", || serving(name.clone(), 1)).await;
    }
    well.store(false, SeqCst);
    for name in &asked {
        until("not serving", || serving(name.clone(), 2)).await;
    }
    well.store(true, SeqCst);
    for name in &asked {
        until("serving again", || serving(name.clone(), 1)).await;
    }
    service.stop().await.expect("left");
}

#[tokio::test]
async fn a_service_that_is_given_twice_is_named() {
    let error = greeter().serve_grpc(Greeter).build().expect_err("twice");
    assert!(
        error
            .to_string()
            .contains("helloworld.Greeter is given twice"),
        "{error}"
    );
}

#[tokio::test]
async fn a_caller_that_watches_health_does_not_hold_the_drain_up() {
    let service = up(greeter().drain(Duration::from_secs(60))).await;
    let address = service.address();
    let watching =
        tokio::spawn(async move { call(address, "/grpc.health.v1.Health/Watch", "").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let left = tokio::time::timeout(Duration::from_secs(20), service.stop()).await;
    left.expect("long before the drain's deadline")
        .expect("left");
    let (told, headers) = watching.await.expect("a task");
    assert_eq!(headers["grpc-status"], "0");
    let serving = [0, 0, 0, 0, 2, 8, 1];
    assert_eq!(told[..7], serving, "it was told what it asked for");
    assert_eq!(told[told.len() - 1], 2, "and in the end that it is over");
}
