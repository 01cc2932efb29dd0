//! Servers, clients and records for the laws.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use waypost_core::{
    Address, BoxWatcher, Event, Instance, Lease, Node, NodeId, Origin, RegisterOptions, Registry,
    Result, ServiceName, Target, WatchScope,
};
use waypost_testkit::Missing;
use waypost_testkit::containers::{Server, ZOOKEEPER};
use waypost_zookeeper::DRIVER;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Stat};

/// Longest time that anything may take which is to happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// As go-micro creates: a znode that is nobody's, and anybody's.
pub(crate) const PERSISTENT: CreateOptions<'static> =
    CreateMode::Persistent.with_acls(Acls::anyone_all());
/// The shortest ttl.
pub(crate) const LEAST: Duration = Duration::from_secs(4);

/// Variables of a container.
pub(crate) type Environment = &'static [(&'static str, &'static str)];

/// A server for one law alone.
pub(crate) async fn own_server(environment: Environment) -> Result<Server, Missing> {
    let mut recipe = ZOOKEEPER;
    recipe.environment = environment;
    Server::start(&recipe).await
}

pub(crate) async fn open(url: &str) -> Arc<dyn Registry> {
    try_open(url).await.expect(url)
}

pub(crate) async fn try_open(url: &str) -> Result<Arc<dyn Registry>> {
    (DRIVER.connect)(Target::parse(url, None, Origin::Code)?).await
}

/// A registry of a process of its own.
pub(crate) async fn at(address: &str) -> Arc<dyn Registry> {
    open(&format!("zookeeper://{address}")).await
}

pub(crate) async fn client(address: &str) -> Client {
    Client::connect(address).await.expect("a client")
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::foreign(text).expect("a name")
}

pub(crate) fn instance(service: &str, number: usize) -> Instance {
    let id = NodeId::new(&format!("{service}-{number}")).expect("an id");
    let address = Address::new("10.0.0.1:8080").expect("an address");
    Instance::new(name(service), Node::new(id, address)).with_version("1.0.0")
}

pub(crate) async fn register(registry: &dyn Registry, instance: &Instance) -> Box<dyn Lease> {
    register_for(registry, instance, LEAST).await
}

pub(crate) async fn register_for(
    registry: &dyn Registry,
    instance: &Instance,
    ttl: Duration,
) -> Box<dyn Lease> {
    let options = RegisterOptions::new(ttl);
    let registered = registry.register(instance, options).await;
    registered.expect("a lease")
}

pub(crate) async fn watch(registry: &dyn Registry, scope: impl Into<WatchScope>) -> BoxWatcher {
    registry.watch(scope.into()).await.expect("a watcher")
}

/// The next event that says something new.
pub(crate) async fn news(watcher: &mut BoxWatcher) -> Result<Event> {
    let next = timeout(SOON, watcher.next()).await;
    next.expect("news within ten seconds")
        .expect("an open watch")
}

/// What is known of a record's znode.
pub(crate) async fn stat(client: &Client, instance: &Instance) -> Option<Stat> {
    let key = instance.key();
    let path = format!("/micro-registry/{}/{}", key.service, key.node);
    client.check_stat(&path).await.expect("stat")
}

/// Waits until `holds`.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < SOON, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The server's answer to a word of four letters.
pub(crate) async fn ask(address: &str, word: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(word.as_bytes()).await.expect("ask");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// Sessions that are connected to the server.
pub(crate) async fn sessions(address: &str) -> usize {
    ask(address, "cons").await.matches("sid=0x").count()
}

/// Watches that the server keeps.
pub(crate) async fn watches(address: &str) -> usize {
    let text = ask(address, "wchs").await;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("Total watches:"));
    total
        .and_then(|total| total.trim().parse().ok())
        .expect("a number")
}
