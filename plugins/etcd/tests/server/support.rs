//! Servers, clients and records for the laws.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Permission, PermissionType};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{
    Address, BoxWatcher, Event, Instance, Lease, Node, NodeId, Origin, RegisterOptions, Registry,
    Result, ServiceName, Target, WatchScope,
};
use waypost_etcd::DRIVER;
use waypost_testkit::Missing;
use waypost_testkit::containers::{ETCD, Server, etcd_address};

/// Longest time that anything may take which is to happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The server that laws share. Each uses service names of its own.
pub(crate) async fn shared() -> Result<String, Missing> {
    etcd_address().await
}

/// A server for one law alone, with extra arguments.
pub(crate) async fn own_server(extra: &[&str]) -> Result<Server, Missing> {
    let mut arguments = vec![
        "--listen-client-urls=http://0.0.0.0:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
    ];
    arguments.extend(extra);
    Server::start_with(&ETCD, &arguments).await
}

pub(crate) async fn open(url: &str) -> Arc<dyn Registry> {
    try_open(url).await.expect(url)
}

pub(crate) async fn try_open(url: &str) -> Result<Arc<dyn Registry>> {
    (DRIVER.connect)(Target::parse(url, None, Origin::Code)?).await
}

pub(crate) async fn client(address: &str) -> Client {
    Client::connect([address], None).await.expect("a client")
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

pub(crate) fn instance(service: &str, number: usize) -> Instance {
    let id = NodeId::new(&format!("{service}-{number}")).expect("an id");
    let address = Address::new("10.0.0.1:8080").expect("an address");
    Instance::new(name(service), Node::new(id, address)).with_version("1.0.0")
}

pub(crate) async fn register(registry: &dyn Registry, instance: &Instance) -> Box<dyn Lease> {
    let options = RegisterOptions::new(Duration::from_secs(10));
    let registered = registry.register(instance, options).await;
    registered.expect("a lease")
}

pub(crate) async fn watch(registry: &dyn Registry, scope: impl Into<WatchScope>) -> BoxWatcher {
    registry.watch(scope.into()).await.expect("a watcher")
}

/// The next event that says something new.
pub(crate) async fn news(watcher: &mut BoxWatcher) -> Result<Event> {
    let next = async {
        loop {
            match watcher.next().await.expect("an open watch") {
                Ok(Event::Confirmed) => {}
                event => return event,
            }
        }
    };
    timeout(SOON, next).await.expect("news within ten seconds")
}

/// Waits until `holds`.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < SOON, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The sum of a metric over all label sets that contain `labels`.
pub(crate) async fn metric(server: &Server, metric: &str, labels: &str) -> u64 {
    let text = scrape(&server.address()).await;
    let lines = text.lines().filter(|line| {
        line.strip_prefix(metric)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    lines
        .filter(|line| line.contains(labels))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .map(|value| value as u64)
        .sum()
}

async fn scrape(address: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connect");
    let request = b"GET /metrics HTTP/1.0\r\n\r\n";
    stream.write_all(request).await.expect("ask");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// Watches that the server keeps.
pub(crate) async fn watchers(server: &Server) -> u64 {
    metric(server, "etcd_debugging_mvcc_watcher_total", "").await
}

/// Calls of a method that the server has begun to answer.
pub(crate) async fn calls(server: &Server, method: &str) -> u64 {
    let label = format!("grpc_method=\"{method}\"");
    metric(server, "grpc_server_started_total", &label).await
}

/// Switches authentication on: the user `ann` (`S3CR3T`) may do `kind` below `prefix`.
pub(crate) async fn guard(server: &Server, kind: PermissionType, prefix: &str) {
    let mut raw = client(&server.address()).await;
    let permission = Permission::new(kind, prefix).with_prefix();
    raw.user_add("root", "root", None).await.expect("root");
    raw.user_grant_role("root", "root").await.expect("grant");
    raw.role_add("owner").await.expect("role");
    raw.role_grant_permission("owner", permission)
        .await
        .expect("permit");
    raw.user_add("ann", "S3CR3T", None).await.expect("ann");
    raw.user_grant_role("ann", "owner").await.expect("grant");
    raw.auth_enable().await.expect("enable");
}
