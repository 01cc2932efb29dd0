//! One endpoint of several is dead: how many calls fail, of whom.
//!
//! `cargo xtask bench survive` prints the table of the README: a thousand calls in a row to one,
//! two and three live servers and one that refuses, or that swallows every packet, by Waypost and by
//! what a Rust program has without it, in the same run.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a command talks to its terminal, and ends where it cannot go on"
)]

#[path = "../tests/calls/node.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
mod node;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::{BlackHole, Node, refused};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tonic::transport::{Channel, Endpoint, Server, channel::Change, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use waypost_client::{Client, NodeOf};
use waypost_core::{
    Address, Directory, DirectoryOptions, Followed, Instance, Lease, Node as Record, NodeId,
    RegisterOptions, Registry, ServiceName,
};
use waypost_memory::MemoryRegistry;

const CALLS: usize = 1000;
/// A call that takes longer has failed, whoever makes it.
const LIMIT: Duration = Duration::from_secs(5);
/// A row is cut off after this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of one row's calls.
#[derive(Default)]
struct Row {
    made: usize,
    failed: usize,
    /// The slowest call that began in the first two seconds, and later.
    slowest: [Duration; 2],
    attempts: u64,
}

impl Row {
    /// Makes the calls; each tells how many attempts it took, where that is known.
    async fn of<E>(mut call: impl AsyncFnMut() -> Result<u32, E>) -> Self {
        let (mut row, begun) = (Self::default(), Instant::now());
        while row.made < CALLS && begun.elapsed() < PATIENCE {
            let at = Instant::now();
            let result = tokio::time::timeout(LIMIT, call()).await;
            let slowest = &mut row.slowest[usize::from(at - begun > Duration::from_secs(2))];
            *slowest = (*slowest).max(at.elapsed());
            match result {
                Ok(Ok(attempts)) if row.made > 0 => row.attempts += u64::from(attempts),
                Ok(Ok(_)) => {}
                _ => row.failed += 1,
            }
            row.made += 1;
        }
        row
    }

    fn print(&self, case: &str, who: &str) {
        let attempts = match self.attempts {
            0 => "-".to_owned(),
            all => format!("{:.3}", all as f64 / (self.made - 1) as f64),
        };
        let [first, later] = self.slowest.map(|one| one.as_secs_f64() * 1e3);
        println!(
            "| {case} | {who} | {} of {} | {first:.0} ms | {later:.0} ms | {attempts} |",
            self.failed, self.made
        );
    }
}

/// A service with these addresses, and the leases of its records.
async fn registered(addresses: &[String]) -> (MemoryRegistry, Vec<Box<dyn Lease>>) {
    let registry = MemoryRegistry::new();
    let mut leases = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let id = NodeId::new(&format!("n{number}")).expect("an id");
        let record = Record::new(id, Address::new(address).expect("an address"));
        let instance = Instance::new(ServiceName::new("greeter").expect("a name"), record);
        let options = RegisterOptions::new(Duration::from_secs(3600));
        let lease = registry.register(&instance, options).await;
        leases.push(lease.expect("registered"));
    }
    (registry, leases)
}

async fn http(case: &str, addresses: &[String]) {
    let (registry, _leases) = registered(addresses).await;
    let client = Client::builder().registry(Arc::new(registry.clone()));
    let client = client.build().expect("a client");
    let row = Row::of(async || {
        let answer = client.get("http://greeter/hello").await?;
        let attempts = answer
            .extensions()
            .get::<NodeOf>()
            .map_or(1, NodeOf::attempts);
        http_body_util::BodyExt::collect(answer.into_body()).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(attempts)
    });
    row.await.print(case, "Waypost");

    let directory = Directory::new(Arc::new(registry), DirectoryOptions::new());
    let name = ServiceName::new("greeter").expect("a name");
    let followed = directory.follow(name).await.expect("followed");
    let client = reqwest::Client::builder().no_proxy();
    let client = client.dns_resolver(Arc::new(Resolver(followed)));
    let client = client.build().expect("a client");
    let row = Row::of(async || {
        let answer = client.get("http://greeter/hello").send().await?;
        answer.bytes().await.map(|_| 0)
    });
    row.await.print(case, "reqwest, resolver over the registry");
}

/// What the registry knows, in random order.
struct Resolver(Followed);

impl Resolve for Resolver {
    fn resolve(&self, _: Name) -> Resolving {
        let members = self.0.members();
        let known = members.live().map(|one| one.node.address.as_str());
        let mut known: Vec<SocketAddr> = known.filter_map(|one| one.parse().ok()).collect();
        fastrand::shuffle(&mut known);
        Box::pin(async move { Ok(Box::new(known.into_iter()) as Addrs) })
    }
}

async fn grpc(case: &str, addresses: &[String]) {
    let (registry, _leases) = registered(addresses).await;
    let client = Client::builder().registry(Arc::new(registry)).build();
    let channel = client
        .expect("a client")
        .grpc("greeter")
        .expect("a channel");
    let mut client = HealthClient::new(channel);
    let row = Row::of(async || {
        let answer = client.check(HealthCheckRequest::default()).await?;
        let attempts = answer
            .extensions()
            .get::<NodeOf>()
            .map_or(1, NodeOf::attempts);
        Ok::<_, tonic::Status>(attempts)
    });
    row.await.print(case, "Waypost");

    let (channel, changes) = Channel::balance_channel::<String>(64);
    for address in addresses {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint");
        let change = Change::Insert(address.clone(), endpoint);
        changes.send(change).await.expect("inserted");
    }
    let mut client = HealthClient::new(channel);
    let row = Row::of(async || {
        let answer = client.check(HealthCheckRequest::default()).await;
        answer.map(|_| 0)
    });
    row.await.print(case, "tonic `balance_channel`");
}

async fn health_server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let (_, service) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

#[tokio::main]
async fn main() {
    println!(
        "| endpoints | client | failed | slowest, first 2 s | slowest, later | attempts a call |"
    );
    println!("|---|---|---|---|---|---|");
    let hole = BlackHole::new().await;
    for (kind, dead) in [
        ("refused", refused().await),
        ("black hole", hole.address.clone()),
    ] {
        for live in 1..=3 {
            let mut nodes = Vec::new();
            for _ in 0..live {
                nodes.push(Node::http().await);
            }
            let mut addresses: Vec<String> = nodes.iter().map(|one| one.address.clone()).collect();
            addresses.push(dead.clone());
            http(&format!("HTTP, {live} live + 1 {kind}"), &addresses).await;
            let mut addresses = vec![dead.clone()];
            for _ in 0..live {
                addresses.push(health_server().await);
            }
            grpc(&format!("gRPC, {live} live + 1 {kind}"), &addresses).await;
        }
    }
}
