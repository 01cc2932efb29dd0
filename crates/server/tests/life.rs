//! A service's life, seen from outside of it, within one process.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and some handlers panic"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get as on_get;
use http::Request;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{
    BoxWatcher, Error, ErrorKind, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry,
    Result, ServiceName, SkipLog, WatchScope,
};
use waypost_memory::MemoryRegistry;
use waypost_resilience::{Context, Deadline};
use waypost_server::{Admin, Check, Page, Service, ServiceBuilder, Stop, TraceContext};

use common::{fetch, get, http1, http2, until};

const LIMIT: Duration = Duration::from_secs(20);

/// A memory registry that can be away.
#[derive(Debug)]
struct Away {
    inner: MemoryRegistry,
    away: AtomicBool,
}

impl Away {
    fn new(away: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryRegistry::new(),
            away: AtomicBool::new(away),
        })
    }

    fn here(&self) -> Result<&MemoryRegistry> {
        match self.away.load(SeqCst) {
            true => Err(Error::unavailable("the registry is away")),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl Registry for Away {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }
    fn skipped(&self) -> &SkipLog {
        self.inner.skipped()
    }
    async fn register(&self, one: &Instance, how: RegisterOptions) -> Result<Box<dyn Lease>> {
        self.here()?.register(one, how).await
    }
    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.here()?.deregister(key).await
    }
    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.here()?.lookup(service).await
    }
    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.here()?.services().await
    }
    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.here()?.watch(scope).await
    }
}

fn router() -> Router {
    Router::new()
        .route("/hello", on_get(|| async { "hello" }))
        .route(
            "/slow",
            on_get(|| async {
                sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        )
        .route("/panic", on_get(panicking))
}

async fn panicking() -> &'static str {
    panic!("a secret of the handler's")
}

fn greeter(registry: Arc<dyn Registry>) -> ServiceBuilder {
    Service::builder("greeter")
        .registry(registry)
        .address("127.0.0.1:0")
        .handle_signals(false)
        .propagation(Duration::from_millis(50))
        .serve(router())
}

async fn nodes(registry: &dyn Registry) -> Vec<Instance> {
    let name = ServiceName::new("greeter").expect("name");
    registry.lookup(&name).await.unwrap_or_default()
}

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
async fn failing_health_deregisters_and_passing_registers_again_without_flapping() {
    let registry = Arc::new(MemoryRegistry::new());
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let check = {
        let (well, asked) = (Arc::clone(&well), Arc::clone(&asked));
        Check::new("db", move || {
            let well = well.load(SeqCst);
            asked.fetch_add(1, SeqCst);
            async move {
                if well {
                    Ok(())
                } else {
                    Err("no answer".into())
                }
            }
        })
        .every(Duration::from_millis(50))
    };
    let service = greeter(registry.clone())
        .check(check)
        .start()
        .await
        .expect("up");
    assert_eq!(nodes(&*registry).await.len(), 1);
    let admin = service.admin().expect("admin");

    let before = asked.load(SeqCst);
    well.store(false, SeqCst);
    until("deregistered", || async {
        nodes(&*registry).await.is_empty()
    })
    .await;
    let bad = asked.load(SeqCst) - before;
    assert!(bad >= 3, "left after {bad} bad answers");
    let (status, told) = fetch(admin, "/readyz?verbose").await.expect("answers");
    assert!(status == 503 && told.contains("[-]db no answer"), "{told}");
    assert_eq!(fetch(admin, "/livez").await.expect("answers").0, 200);
    assert_eq!(
        fetch(service.address(), "/hello")
            .await
            .expect("serves on")
            .0,
        200
    );

    let before = asked.load(SeqCst);
    well.store(true, SeqCst);
    until("registered again", || async {
        nodes(&*registry).await.len() == 1
    })
    .await;
    let good = asked.load(SeqCst) - before;
    assert!(good >= 2, "back after {good} good answers");
    timeout(LIMIT, service.ready()).await.expect("ready again");
    service.stop().await.expect("left");
}

#[tokio::test]
async fn a_service_whose_check_never_passed_is_never_registered() {
    let registry = Arc::new(MemoryRegistry::new());
    let check = Check::new("db", || async { Err("no".into()) }).every(Duration::from_millis(20));
    let service = greeter(registry.clone())
        .check(check)
        .start()
        .await
        .expect("serves");
    assert!(!service.is_ready() && nodes(&*registry).await.is_empty());
    service.stop().await.expect("left");
}

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
    let text = common::text(response).await.expect("a body");
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
        common::text(response).await.expect("whole");
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
    assert_eq!(common::text(slow).await.expect("whole"), "slow");
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

#[tokio::test]
async fn every_wrong_value_is_named_with_its_rule() {
    let with = |change: fn(ServiceBuilder) -> ServiceBuilder| {
        change(greeter(Arc::new(MemoryRegistry::new())))
            .build()
            .map(drop)
    };
    let cases: &[(fn(ServiceBuilder) -> ServiceBuilder, &str)] = &[
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

#[tokio::test]
async fn the_admin_listener_has_pages_of_any_part_of_the_program_and_no_service_is_needed() {
    let admin = Admin::new();
    let listener = admin.listen("127.0.0.1:0").await.expect("listens");
    let address: SocketAddr = listener.address();
    admin
        .page("/version", |_| async { Page::text("1.2.0\n") })
        .expect("a path");
    let picks = |query: waypost_server::Query| async move {
        query.get("service").unwrap_or("all").to_owned()
    };
    admin
        .section("/explain", "client", picks)
        .expect("a section");
    assert!(admin.page("version", |_| async { Page::text("") }).is_err());
    assert!(admin.section("/version", "x", |_| async { 1 }).is_err());
    assert_eq!(
        fetch(address, "/version").await.expect("answers"),
        (200, "1.2.0\n".to_owned())
    );
    let (_, index) = fetch(address, "/").await.expect("answers");
    assert!(
        index.contains("/version\n") && index.contains("/stats\n"),
        "{index}"
    );
    let (status, told) = fetch(address, "/explain?service=a%2Fb")
        .await
        .expect("answers");
    let told: serde_json::Value = serde_json::from_str(&told).expect("json");
    assert_eq!((status, &told["client"]), (200, &"a/b".into()));
    assert_eq!(fetch(address, "/readyz").await.expect("answers").0, 200);
    assert_eq!(fetch(address, "/nothing").await.expect("answers").0, 404);
    drop(listener);
    until("closed", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert_eq!(admin.address(), None);
}

#[tokio::test]
async fn probes_on_the_services_own_port_tell_no_details() {
    let registry = Away::new(true);
    let service = greeter(registry)
        .probes()
        .without_admin()
        .start()
        .await
        .expect("serves");
    assert_eq!(service.admin(), None);
    assert!(
        !service
            .instance()
            .node
            .metadata
            .contains_key("waypost-admin")
    );
    let address = service.address();
    assert_eq!(fetch(address, "/livez").await.expect("answers").0, 200);
    let told = fetch(address, "/readyz?verbose").await.expect("answers");
    assert_eq!(told, (503, "not ready\n".to_owned()));
    assert_eq!(fetch(address, "/hello").await.expect("answers").0, 200);
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
        assert_eq!(common::text(response).await.expect("whole"), told);
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
        (Some("0"), 408, 0, 0),
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
        let told = common::text(response).await.expect("whole");
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
