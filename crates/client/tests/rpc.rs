//! Typed calls to nodes of each protocol, over real sockets and the memory registry.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod house;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use house::{House, refused};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tower::timeout::TimeoutLayer;
use waypost_client::{CallOptions, ErrorKind, OnlyFor};
use waypost_resilience::{CallInfo, Decision, Outcome, RetryOnError};

/// go-micro's server, as far as its transport goes: always 200, errors in a header.
async fn mucp(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|one| one.to_str().unwrap_or(""))
    };
    let told = json!({
        "path": parts.uri.path(), "service": header("micro-service"), "type": header("content-type"),
        "endpoint": header("micro-endpoint"), "method": header("micro-method"),
        "id": header("micro-id").is_some(), "timeout": header("timeout").is_some(),
        "request": read(body).await,
    });
    let mut response = Response::new(Body::from(told.to_string()));
    if header("micro-endpoint") == Some("Greeter.Fail") {
        let error = r#"{"id":"greeter","code":409,"detail":"taken","status":"Conflict"}"#;
        response = Response::new(Body::empty());
        let error = error.parse().expect("a header");
        response.headers_mut().insert("micro-error", error);
    }
    response
}

async fn read(body: Body) -> Value {
    let bytes = body.collect().await.expect("a body").to_bytes();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn frame(message: &Value) -> Bytes {
    let text = message.to_string();
    let mut bytes = vec![0];
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.into()
}

fn trailers(status: &str, message: &str) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", status.parse().expect("a header"));
    trailers.insert("grpc-message", message.parse().expect("a header"));
    trailers
}

/// A gRPC server of JSON messages: says what it was asked; `Fail` fails in the trailers, `Echo` sends
/// each message back as it comes.
async fn grpc(request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let content_type = parts.headers["content-type"].clone();
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(4);
    tokio::spawn(async move {
        if path.ends_with("/Fail") {
            let error = "%7B%22id%22:%22greeter%22,%22code%22:412,%22detail%22:%22not so%22%7D";
            let _ = send.send(Ok(Frame::data(frame(&json!(1))))).await;
            let _ = send.send(Ok(Frame::trailers(trailers("9", error)))).await;
            return;
        }
        let mut whole = Vec::new();
        while let Some(Ok(part)) = body.frame().await {
            let Ok(data) = part.into_data() else { continue };
            if path.ends_with("/Echo") {
                let _ = send.send(Ok(Frame::data(data))).await;
            } else {
                whole.extend_from_slice(&data);
            }
        }
        if !path.ends_with("/Echo") {
            let request: Value = serde_json::from_slice(&whole[5..]).expect("JSON behind a prefix");
            let told = json!({ "path": path, "request": request });
            let _ = send.send(Ok(Frame::data(frame(&told)))).await;
        }
        let _ = send.send(Ok(Frame::trailers(trailers("0", "")))).await;
    });
    let frames = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|frame| (frame, receive))
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert("content-type", content_type);
    response
}

async fn http(request: Request) -> Response {
    let path = request.uri().to_string();
    let status = match path.as_str() {
        "/Greeter.Fail" => 429,
        "/Greeter.Slow" => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            200
        }
        "/long" => return Response::new(Body::from(vec![b' '; 5 << 20])),
        _ => 200,
    };
    let told = json!({ "path": path, "request": read(request.into_body()).await });
    let mut response = Response::new(Body::from(told.to_string()));
    *response.status_mut() = status.try_into().expect("a status");
    response
}

fn any<H, T>(handler: H) -> Router
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    Router::new().fallback(handler)
}

#[tokio::test]
async fn each_protocol_is_spoken_as_go_micro_does() {
    let house = House::new().await;
    house.serve("mucp", "m-1", Some("mucp"), any(mucp)).await;
    house.serve("grpc", "g-1", Some("grpc"), any(grpc)).await;
    house.serve("http", "h-1", Some("http"), any(http)).await;
    house.serve("bare", "b-1", None, any(http)).await;
    let client = house.client();
    let ask = json!({ "name": "Ann" });
    let told: Value = client
        .call("mucp", "Greeter.Hello", &ask)
        .await
        .expect("mucp");
    let want = json!({
        "path": "/", "service": "mucp", "endpoint": "Greeter.Hello", "method": "Greeter.Hello",
        "type": "application/json", "id": true, "timeout": true, "request": ask,
    });
    assert_eq!(told, want);
    let told: Value = client
        .call("grpc", "Greeter.Hello", &ask)
        .await
        .expect("grpc");
    assert_eq!(
        told,
        json!({ "path": "/grpc.Greeter/Hello", "request": ask })
    );
    for service in ["http", "bare"] {
        let told: Value = client
            .call(service, "Greeter.Hello", &ask)
            .await
            .expect(service);
        assert_eq!(told, json!({ "path": "/Greeter.Hello", "request": ask }));
        let told: Value = client.call(service, "/a/b?c=d", &ask).await.expect(service);
        assert_eq!(told["path"], "/a/b?c=d");
    }
}

#[tokio::test]
async fn a_nodes_error_comes_with_its_code_its_id_and_the_node() {
    let house = House::new().await;
    house.serve("mucp", "m-1", Some("mucp"), any(mucp)).await;
    house.serve("grpc", "g-1", Some("grpc"), any(grpc)).await;
    house.serve("http", "h-1", None, any(http)).await;
    let client = house.client();
    for (service, node, code, detail) in [
        ("mucp", "m-1", 409, "taken"),
        ("grpc", "g-1", 412, "not so"),
        ("http", "h-1", 429, "Greeter.Fail"),
    ] {
        let error = client
            .call::<_, Value>(service, "Greeter.Fail", &json!({}))
            .await
            .expect_err(service);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Node, code),
            "{error}"
        );
        assert_eq!(error.node(), Some(node), "{error}");
        assert!(error.detail().contains(detail), "{error}");
        assert!(!error.may_have_run(), "it was answered: {error}");
        let text = error.to_string();
        assert!(
            text.contains("Greeter.Fail") && text.contains(service),
            "{text}"
        );
    }
    let error = client.call::<_, Value>("nobody", "A.B", &1).await;
    assert_eq!(error.expect_err("unknown").code(), 404);
    let error = client.call::<_, Value>("grpc", "Hello", &1).await;
    let error = error.expect_err("no Struct.Method");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_long_answer_is_refused_while_it_is_read() {
    let house = House::new().await;
    house.serve("http", "h-1", None, any(http)).await;
    let client = house
        .builder()
        .largest_answer(1 << 20)
        .build()
        .expect("a client");
    let error = client.call::<_, Value>("http", "/long", &1).await;
    let error = error.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
    let told: Value = client.call("http", "/short", &1).await.expect("still fine");
    assert_eq!(told["path"], "/short");
}

#[tokio::test]
async fn the_retry_function_sees_the_nodes_code_and_each_attempt() {
    let house = House::new().await;
    let calls = Arc::new(AtomicU32::new(0));
    for id in ["h-1", "h-2", "h-3"] {
        let calls = Arc::clone(&calls);
        let failing = any(move || async move {
            match calls.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => (http::StatusCode::INTERNAL_SERVER_ERROR, "{}"),
                _ => (http::StatusCode::OK, "7"),
            }
        });
        house.serve("http", id, None, failing).await;
    }
    let client = house
        .builder()
        .retry_policy(RetryOnError)
        .build()
        .expect("a client");
    let told: u32 = client.call("http", "A.B", &1).await.expect("the third try");
    assert_eq!((told, calls.load(Ordering::SeqCst)), (7, 3));

    calls.store(0, Ordering::SeqCst);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let policy = move |_: &CallInfo<'_>, attempt: u32, outcome: &Outcome<'_>| {
        let mut noted = noted.lock().expect("not poisoned");
        noted.push((attempt, outcome.code, outcome.error.is_some()));
        Decision::Stop
    };
    let client = house
        .builder()
        .retry_policy(policy)
        .build()
        .expect("a client");
    let error = client.call::<_, u32>("http", "A.B", &1).await;
    assert_eq!(error.expect_err("stopped").code(), 500);
    assert_eq!(*seen.lock().expect("not poisoned"), [(0, 500, true)]);
}

#[tokio::test]
async fn calls_of_every_protocol_survive_a_dead_node() {
    let house = House::new().await;
    for (service, protocol) in [("mucp", "mucp"), ("grpc", "grpc"), ("http", "http")] {
        let live = match protocol {
            "mucp" => any(mucp),
            "grpc" => any(grpc),
            _ => any(http),
        };
        house.serve(service, "live", Some(protocol), live).await;
        house
            .announce(service, "dead", Some(protocol), refused())
            .await;
        let client = house.client();
        for number in 0..100 {
            let told: Value = client
                .call(service, "Greeter.Hello", &json!({ "n": number }))
                .await
                .expect("the live node answers");
            assert_eq!(told["request"]["n"], number);
        }
    }
}

#[tokio::test]
async fn a_stream_goes_both_ways_and_ends() {
    let house = House::new().await;
    house.serve("grpc", "g-1", Some("grpc"), any(grpc)).await;
    house
        .announce("grpc", "dead", Some("grpc"), refused())
        .await;
    house.serve("http", "h-1", None, any(http)).await;
    let client = house.client();
    for _ in 0..10 {
        let mut stream = client.stream("grpc", "Greeter.Echo").await.expect("opened");
        for number in 0..40 {
            stream.send(&json!({ "n": number })).await.expect("sent");
            let back: Value = stream.recv().await.expect("received").expect("a message");
            assert_eq!(back["n"], number);
        }
        let mut rest = stream.close();
        let end: Option<Value> = rest.recv().await.expect("the end");
        assert_eq!(end, None);
    }
    let mut stream = client.stream("grpc", "Greeter.Fail").await.expect("opened");
    assert_eq!(stream.recv::<Value>().await.expect("one"), Some(json!(1)));
    let error = stream.recv::<Value>().await.expect_err("the node's error");
    assert_eq!((error.code(), error.detail()), (412, "not so"));
    let mut stream = client.stream("http", "Greeter.Echo").await.expect("opened");
    let error = stream.recv::<Value>().await.expect_err("no gRPC");
    assert_eq!(error.kind(), ErrorKind::NoneAvailable);
    assert!(error.to_string().contains("protocol=grpc"), "{error}");
}

#[tokio::test]
async fn layers_wrap_every_kind_of_call_and_may_answer_themselves() {
    let house = House::new().await;
    house.serve("http", "h-1", None, any(http)).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = |name: &'static str| {
        let seen = Arc::clone(&seen);
        tower::util::MapRequestLayer::new(
            move |request: http::Request<waypost_client::Outgoing>| {
                let called = request.extensions().get::<waypost_client::Called>();
                let called = called.expect("what is called");
                let text = format!("{name} {} {}", called.service(), called.endpoint());
                seen.lock().expect("not poisoned").push(text);
                request
            },
        )
    };
    let only = OnlyFor::new(
        |called| called.endpoint() == "Greeter.Slow",
        TimeoutLayer::new(Duration::from_millis(20)),
    );
    let client = house
        .builder()
        .layer(noted("outer"))
        .layer(noted("inner"))
        .layer(only)
        .build()
        .expect("a client");
    let told: Value = client
        .call("http", "Greeter.Hello", &7)
        .await
        .expect("called");
    assert_eq!(told, json!({ "path": "/Greeter.Hello", "request": 7 }));
    client.get("http://http/path?q").await.expect("got");
    let options = CallOptions::new().with_layer(noted("own"));
    let _: Value = client
        .call_with("http", "A.B", &7, &options)
        .await
        .expect("called");
    let seen = std::mem::take(&mut *seen.lock().expect("not poisoned"));
    let want = [
        "outer http Greeter.Hello",
        "inner http Greeter.Hello",
        "outer http /path",
        "inner http /path",
        "own http A.B",
        "outer http A.B",
        "inner http A.B",
    ];
    assert_eq!(seen, want);
    let error = client.call::<_, Value>("http", "Greeter.Slow", &7).await;
    let error = error.expect_err("the layer's own error");
    assert_eq!(error.kind(), ErrorKind::Layer, "{error}");
}

#[tokio::test]
async fn discovered_nodes_come_and_go() {
    use futures_util::StreamExt;
    use tower::discover::Change;

    let house = House::new().await;
    house.announce("greeter", "a", None, refused()).await;
    let client = house.client();
    let made = |instance: &waypost_core::Instance| instance.node.id.to_string();
    let mut nodes = client.discover("greeter", made).await.expect("followed");
    let mut next = async || {
        nodes
            .next()
            .await
            .expect("never ends")
            .expect("never fails")
    };
    let told = |change: Change<waypost_core::NodeId, String>| match change {
        Change::Insert(id, made) => {
            assert_eq!(id.as_str(), made);
            format!("+{id}")
        }
        Change::Remove(id) => format!("-{id}"),
    };
    assert_eq!(told(next().await), "+a");
    house.announce("greeter", "b", None, refused()).await;
    assert_eq!(told(next().await), "+b");
    // At another address.
    house.announce("greeter", "b", None, refused()).await;
    assert_eq!(told(next().await), "+b");
    house.leave("greeter", "a").await;
    assert_eq!(told(next().await), "-a");
}

#[tokio::test]
async fn a_client_tells_what_it_knows() {
    let house = House::new().await;
    house.serve("http", "h-1", None, any(http)).await;
    let client = house.client();
    assert!(client.stats().is_empty(), "nothing was called yet");
    let _: Value = client.call("http", "A.B", &1).await.expect("called");
    let told = serde_json::to_value(client.stats()).expect("JSON");
    assert_eq!(told[0]["service"], "http");
    assert_eq!(told[0]["freshness"], "live");
    assert_eq!(told[0]["nodes"][0]["id"], "h-1");
    assert_eq!(told[0]["connections"], json!([1]));
}
