//! A client over a registry in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use waypost_client::{CallOptions, Client, ClientBuilder, Error, NodeOf};
use waypost_core::{
    Address, Instance, Lease, Node as Record, NodeId, RegisterOptions, Registry, ServiceName,
};
use waypost_memory::MemoryRegistry;

pub const SERVICE: &str = "greeter";

pub struct Stage {
    pub registry: MemoryRegistry,
    leases: Vec<Box<dyn Lease>>,
}

/// One call's end.
#[derive(Debug)]
pub struct Done {
    pub result: Result<(u16, Bytes), Error>,
    pub took: Duration,
    pub attempts: u32,
    pub node: String,
}

impl Stage {
    pub async fn new<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let mut stage = Self {
            registry: MemoryRegistry::new(),
            leases: Vec::new(),
        };
        for address in addresses {
            stage.join(address, "1.0").await;
        }
        stage
    }

    pub async fn join(&mut self, address: &str, version: &str) {
        let id = NodeId::new(&format!("n{}", self.leases.len())).expect("id");
        let node = Record::new(id, Address::new(address).expect("address"));
        let service = ServiceName::new(SERVICE).expect("name");
        let instance = Instance::new(service, node).with_version(version);
        let options = RegisterOptions::new(Duration::from_secs(3600));
        let lease = self.registry.register(&instance, options).await;
        self.leases.push(lease.expect("registered"));
    }

    /// Takes a node away, in the order in which they joined.
    pub async fn leave(&mut self, index: usize) {
        self.leases.remove(index).revoke().await.expect("revoked");
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder().registry(Arc::new(self.registry.clone()))
    }

    pub fn client(&self) -> Client {
        self.builder().build().expect("client")
    }
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = format!("http://{SERVICE}{path}").parse().expect("uri");
    request
}

pub fn post(path: &str, body: &'static [u8]) -> Request<Full<Bytes>> {
    let mut request = get(path);
    *request.method_mut() = Method::POST;
    *request.body_mut() = Full::new(Bytes::from_static(body));
    request
}

pub async fn send(client: &Client, request: Request<Full<Bytes>>) -> Done {
    finish(Instant::now(), client.request(request).await).await
}

async fn finish(
    begun: Instant,
    result: Result<http::Response<waypost_client::Answer>, Error>,
) -> Done {
    let (mut attempts, mut node) = (0, String::new());
    let result = match result {
        Ok(response) => {
            let of = response.extensions().get::<NodeOf>().expect("node").clone();
            (attempts, node) = (of.attempts(), of.node().id().to_string());
            let status = grpc_or_http(&response);
            match response.into_body().collect().await {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) => Err(*error.downcast::<Error>().expect("our error")),
            }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        attempts = attempts.max(error.attempts());
    }
    Done {
        result,
        took: begun.elapsed(),
        attempts,
        node,
    }
}

fn grpc_or_http<B>(response: &http::Response<B>) -> u16 {
    let grpc = response.headers().get("grpc-status");
    let grpc = grpc.and_then(|value| value.to_str().ok()?.parse().ok());
    grpc.map_or(
        response.status().as_u16(),
        waypost_resilience::code::from_grpc,
    )
}

/// A unary call as a generated client makes it.
pub async fn unary(client: &Client, path: &'static str, options: CallOptions) -> Done {
    let begun = Instant::now();
    let mut request = Request::new(Full::new(Bytes::from_static(b"\0\0\0\0\0")));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().expect("path");
    let headers = request.headers_mut();
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    request.extensions_mut().insert(options);
    let channel = client.grpc(SERVICE).expect("channel");
    finish(begun, channel.oneshot(request).await).await
}

impl Done {
    pub fn is_fine(&self) -> bool {
        matches!(self.result, Ok((200, _)))
    }

    pub fn error(self) -> Error {
        self.result.expect_err("a failed call")
    }
}

/// Waits until `wanted`, ten seconds at most.
pub async fn until(what: &str, mut wanted: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "not within 10 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing is left of the calls that were made.
pub async fn nothing_under_way(client: &Client) {
    until("no call is under way", || {
        let explained = client.explain(SERVICE).expect("called");
        explained.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await;
}
