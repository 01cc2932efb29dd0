//! Our calls, with everything that is on by default, and metrics recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use waypost_client::{Client, GrpcChannel};
use waypost_core::{
    Address, Instance, Lease, Node, NodeId, RegisterOptions, Registry, ServiceName,
};
use waypost_memory::MemoryRegistry;

use crate::grpc::Generated;
use crate::http::checked;
use crate::turn::{Caller, IN_FLIGHT};

const SERVICE: &str = "greeter";
/// As the server's own recorder has it.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const UPKEEP: Duration = Duration::from_secs(5);

/// A client that follows so many entries, which stand for the servers in turn.
async fn client(servers: &[SocketAddr], entries: usize) -> Result<(Client, Arc<Held>)> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .install_recorder()?;
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            recorder.run_upkeep();
        }
    });
    let registry = MemoryRegistry::new();
    let mut leases = Vec::new();
    for (number, server) in servers.iter().cycle().take(entries).enumerate() {
        let id = NodeId::new(&format!("{SERVICE}-{number}"))?;
        let node = Node::new(id, Address::new(&server.to_string())?);
        let instance = Instance::new(ServiceName::new(SERVICE)?, node).with_version("1.0");
        let options = RegisterOptions::new(Duration::from_secs(3600));
        leases.push(registry.register(&instance, options).await?);
    }
    let client = Client::builder().registry(Arc::new(registry)).build()?;
    client.prepare(SERVICE).await?;
    Ok((client, Arc::new(Held(leases))))
}

/// Keeps the entries registered.
pub(crate) struct Held(#[expect(dead_code, reason = "held, not read")] Vec<Box<dyn Lease>>);

pub(crate) struct Http {
    client: Client,
    uri: Uri,
    _held: Arc<Held>,
}

pub(crate) async fn http(servers: &[SocketAddr], entries: usize) -> Result<Vec<Http>> {
    let (client, held) = client(servers, entries).await?;
    let uri: Uri = format!("http://{SERVICE}/hello").parse()?;
    let caller = |_| Http {
        client: client.clone(),
        uri: uri.clone(),
        _held: Arc::clone(&held),
    };
    Ok((0..IN_FLIGHT).map(caller).collect())
}

impl Caller for Http {
    async fn call(&mut self) -> Result<()> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.uri.clone();
        checked(self.client.request(request).await?).await
    }
}

pub(crate) struct Grpc {
    generated: Generated<GrpcChannel>,
    _held: Arc<Held>,
}

pub(crate) async fn grpc(servers: &[SocketAddr], entries: usize) -> Result<Vec<Grpc>> {
    let (client, held) = client(servers, entries).await?;
    let channel = client.grpc(SERVICE)?;
    let caller = |_| Grpc {
        generated: Generated::new(channel.clone()),
        _held: Arc::clone(&held),
    };
    Ok((0..IN_FLIGHT).map(caller).collect())
}

impl Caller for Grpc {
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send {
        self.generated.call()
    }
}
