//! Bad input: settings, requests, incoming headers, and nodes that speak nonsense.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use async_trait::async_trait;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use waypost_client::{CallOptions, Client, ErrorKind, Outgoing};
use waypost_core::{
    BoxWatcher, Directory, DirectoryOptions, Error, Instance, InstanceKey, Lease, Profile,
    RegisterOptions, Registry, ServiceName, SkipLog, WatchScope,
};
use waypost_memory::MemoryRegistry;
use waypost_resilience::{Context, Forward, Metadata};
use waypost_selector::Filter;

use crate::node::{Does, Node, scripted};
use crate::stage::{Stage, get, nothing_under_way, post, send};

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_by_name() {
    let builder = || Client::builder().registry(Arc::new(MemoryRegistry::new()));
    for (client, name) in [
        (builder().retries(1_000_000), "retries is 1000000"),
        (builder().pool_size(0), "pool size"),
        (builder().pool_ttl(Duration::ZERO), "pool ttl"),
        (builder().request_timeout(Duration::ZERO), "request timeout"),
        (builder().connect_timeout(Duration::ZERO), "connect timeout"),
        (Client::builder(), "registry"),
    ] {
        let error = client.build().expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_refused_by_the_rule() {
    let node = Node::http().await;
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.client();
    for (uri, rule) in [
        ("/hello", "names no service"),
        ("https://greeter/hello", "no http:// URI"),
        ("http://greeter:80/hello", "more than a service"),
        ("http://me@greeter/hello", "more than a service"),
    ] {
        let mut request = get("/");
        *request.uri_mut() = uri.parse().expect("uri");
        let error = send(&client, request).await.error();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Config, 400),
            "{uri}"
        );
        assert!(error.to_string().contains(rule), "{error}");
    }
    let mut connect = get("/hello");
    *connect.method_mut() = Method::CONNECT;
    let mut upgrade = get("/hello");
    upgrade
        .headers_mut()
        .insert("upgrade", "websocket".parse().expect("value"));
    for request in [connect, upgrade] {
        let error = send(&client, request).await.error();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("CONNECT and Upgrade"), "{error}");
    }
    assert_eq!(node.counts.begun(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_fault_and_is_not_repeated() {
    let node = Node::http().await;
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.client();
    for _ in 0..10 {
        let parts = futures_util::stream::iter([
            Ok(http_body::Frame::data(bytes::Bytes::from_static(b"part"))),
            Err(std::io::Error::other("the disk is gone")),
        ]);
        let mut request = Request::new(http_body_util::StreamBody::new(parts));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = "http://greeter/file".parse().expect("uri");
        let error = client.request(request).await.expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(
            error.chain().contains("the disk is gone"),
            "{}",
            error.chain()
        );
        assert_eq!(error.attempts(), 1);
    }
    let explained = client.explain("greeter").expect("called");
    assert!(explained.nodes[0].why.is_none(), "{explained:?}");
}

#[tokio::test]
async fn a_bad_timeout_that_came_in_bounds_nothing_and_is_not_handed_on() {
    let node = Node::http().await;
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.client();
    for (name, value) in [
        ("timeout", "-1"),
        ("timeout", "0x10"),
        ("timeout", "99999999999999999999999999"),
        ("timeout", ""),
        ("grpc-timeout", "123456789S"),
        ("grpc-timeout", "1x"),
        ("grpc-timeout", "-5S"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("value"));
        let context = Context::from_headers(&headers);
        let done = context.scope(send(&client, get("/hello"))).await;
        assert!(done.is_fine(), "{name}: {value}: {done:?}");
        let mut request = get("/hello");
        *request.headers_mut() = headers;
        let done = send(&client, request).await;
        assert!(done.is_fine(), "{name}: {value}: {done:?}");
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_a_header_is_refused_and_never_sent() {
    let mut metadata = Metadata::default();
    for (key, value) in [
        ("a b", "x"),
        ("", "x"),
        ("ok", "a\r\nx-evil: 1"),
        ("ok", "a\0b"),
    ] {
        assert!(metadata.insert(key, value).is_err(), "{key:?}: {value:?}");
    }
    assert!(metadata.is_empty());
    assert!(Forward::only(["bad name"]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_from_a_node_is_an_error_that_says_so_and_takes_no_more_than_its_time() {
    let cases: &[(&'static [u8], bool, ErrorKind)] = &[
        (
            b"\x16\x03\x01 this is no HTTP \r\n\r\n",
            false,
            ErrorKind::Transport,
        ),
        (b"", false, ErrorKind::Transport),
        (b"HTTP/1.1 200", false, ErrorKind::Transport),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
            false,
            ErrorKind::Transport,
        ),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            false,
            ErrorKind::Transport,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            false,
            ErrorKind::Transport,
        ),
        (
            b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            true,
            ErrorKind::Transport,
        ),
    ];
    for (said, again, kind) in cases {
        let (address, task) = scripted(said, *again).await;
        let stage = Stage::new([address.as_str()]).await;
        let client = stage.client();
        let done = send(&client, post("/order", b"one")).await;
        let told = String::from_utf8_lossy(said).into_owned();
        assert!(
            done.took < Duration::from_secs(3),
            "{told}: {:?}",
            done.took
        );
        let error = done.error();
        assert_eq!(error.kind(), *kind, "{told}: {error:?}");
        assert!(error.node().is_some(), "{told}: {error}");
        nothing_under_way(&client).await;
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_headers_end() {
    let (address, task) = scripted(b"HTTP/1.1 200 OK\r\nx: ", false).await;
    task.abort();
    drop(address);
    static LINES: &[u8] = &[b'a'; 8192];
    let (address, task) = scripted(LINES, true).await;
    let stage = Stage::new([address.as_str()]).await;
    let client = stage.client();
    let done = send(&client, post("/order", b"")).await;
    assert!(done.took < Duration::from_secs(4), "{:?}", done.took);
    let error = done.error();
    assert_eq!(error.kind(), ErrorKind::Transport, "{error:?}");
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_is_the_callers_to_stop_reading() {
    static FLOOD: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\naaaaaaaaaaaaaaaaaaaaaaa";
    let (address, task) = scripted(FLOOD, true).await;
    let stage = Stage::new([address.as_str()]).await;
    let client = stage.client();
    let mut request = get("/hello");
    let options = CallOptions::new().with_timeout(Duration::from_millis(300));
    request.extensions_mut().insert(options);
    let begun = Instant::now();
    // Everything is read: the call's own deadline ends it, though there is always more to read.
    let done = send(&client, request).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(done.error().kind(), ErrorKind::Timeout);
    nothing_under_way(&client).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_answers_keeps_nobody_past_the_deadline() {
    for does in [Does::Hang, Does::HangInBody] {
        let node = Node::http().await;
        node.does(does);
        let stage = Stage::new([node.address.as_str()]).await;
        let client = stage.client();
        for request in [get("/hello"), post("/order", b"")] {
            let mut request = request;
            let options = CallOptions::new().with_timeout(Duration::from_millis(300));
            request.extensions_mut().insert(options);
            let done = send(&client, request).await;
            assert!(done.took < Duration::from_millis(900), "{:?}", done.took);
            assert_eq!(done.error().kind(), ErrorKind::Timeout);
        }
        nothing_under_way(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_sent_once_and_whole() {
    let nodes = [Node::http().await, Node::http().await];
    for node in &nodes {
        node.does(Does::Status(503));
    }
    let stage = Stage::new(nodes.iter().map(|node| node.address.as_str())).await;
    let client = stage.client();
    let (parts, body) = tokio::sync::mpsc::channel::<bytes::Bytes>(1);
    let body = futures_util::stream::unfold(body, |mut body| async move {
        let part = body.recv().await?;
        Some((Ok::<_, std::io::Error>(http_body::Frame::data(part)), body))
    });
    let mut request = Request::new(http_body_util::StreamBody::new(Box::pin(body)));
    // Idempotent, so that it would be repeated if it could be.
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = "http://greeter/file".parse().expect("uri");
    let sending = tokio::spawn(async move {
        for part in ["one", "two", "three"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
            parts.send(part.into()).await.expect("taken");
        }
    });
    let answer = client.request(request).await.expect("an answer");
    assert_eq!(answer.status(), 503);
    sending.await.expect("sent");
    let reached: u32 = nodes.iter().map(|node| node.counts.begun()).sum();
    assert_eq!(reached, 1, "a truncated repeat");
}

#[tokio::test]
async fn an_unknown_service_is_not_found() {
    let stage = Stage::new([]).await;
    let error = send(&stage.client(), get("/hello")).await.error();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NotFound, 404),
        "{error:?}"
    );
}

#[tokio::test]
async fn filters_that_nobody_meets_say_so() {
    let node = Node::http().await;
    let stage = Stage::new([node.address.as_str()]).await;
    let mut request = get("/hello");
    let options = CallOptions::new().with_filter(Filter::version("9.9"));
    request.extensions_mut().insert(options);
    let error = send(&stage.client(), request).await.error();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NoneAvailable, 503)
    );
    assert!(error.to_string().contains("1 fail version=9.9"), "{error}");
}

/// A registry that fails, or says nothing at all.
#[derive(Debug)]
struct Down {
    skipped: SkipLog,
    silent: bool,
}

impl Down {
    fn new(silent: bool) -> Arc<Self> {
        let skipped = SkipLog::default();
        Arc::new(Self { skipped, silent })
    }

    async fn fail<T>(&self) -> Result<T, Error> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        Err(Error::unavailable("it is down"))
    }
}

const PROFILE: Profile = Profile {
    driver: "down",
    least_ttl: Duration::from_secs(1),
    slack: Duration::ZERO,
    writable: true,
    owned: false,
    tells_loss: false,
    native_watch: true,
    remote: true,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

#[async_trait]
impl Registry for Down {
    fn profile(&self) -> &Profile {
        &PROFILE
    }
    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }
    async fn register(&self, _: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>, Error> {
        self.fail().await
    }
    async fn deregister(&self, _: &InstanceKey) -> Result<(), Error> {
        self.fail().await
    }
    async fn lookup(&self, _: &ServiceName) -> Result<Vec<Instance>, Error> {
        self.fail().await
    }
    async fn services(&self) -> Result<Vec<ServiceName>, Error> {
        self.fail().await
    }
    async fn watch(&self, _: WatchScope) -> Result<BoxWatcher, Error> {
        self.fail().await
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_unavailable_within_the_calls_time() {
    for silent in [false, true] {
        let directory = DirectoryOptions::new().with_connect_timeout(Duration::from_secs(30));
        let directory = Directory::new(Down::new(silent), directory);
        let client = Client::builder()
            .directory(directory)
            .build()
            .expect("client");
        let mut request = get("/hello");
        let options = CallOptions::new().with_timeout(Duration::from_millis(300));
        request.extensions_mut().insert(options);
        let done = send(&client, request).await;
        assert!(done.took < Duration::from_millis(900), "{:?}", done.took);
        let error = done.error();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Registry, 503),
            "{error:?}"
        );
        assert!(!error.may_have_run());
    }
}

#[tokio::test]
async fn a_body_is_known_to_be_whole_or_a_stream() {
    assert!(Outgoing::full("a").is_whole());
    let whole = http_body_util::Full::new(bytes::Bytes::from_static(b"a"));
    assert!(Outgoing::new(whole).is_whole());
    let waits =
        futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>();
    assert!(!Outgoing::new(http_body_util::StreamBody::new(waits).boxed_unsync()).is_whole());
}
