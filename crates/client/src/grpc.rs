//! The gRPC face.

use std::future::Future;
use std::mem::take;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;
use waypost_core::ServiceName;

use crate::answer::Answer;
use crate::body::{BoxError, Outgoing};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::layers::Called;
use crate::options::CallOptions;
use crate::plan::Plan;
use crate::route::{Head, Route};
use crate::version::Version;

/// Takes the place of a `tonic` channel in generated clients: each call goes to a node of its own.
///
/// A call's deadline is `tonic::Request::set_timeout`, or the client's; it bounds the time to the
/// answer's head, and with `set_timeout` the whole call. An encoded message is kept for another
/// attempt up to 1 MiB; of a stream of messages nothing is sent twice. [`CallOptions`] among the
/// request's extensions say which calls are idempotent.
#[derive(Debug, Clone)]
pub struct GrpcChannel {
    client: Client,
    service: ServiceName,
    route: Arc<OnceLock<Arc<Route>>>,
}

impl GrpcChannel {
    pub(crate) fn new(client: Client, service: ServiceName) -> Self {
        Self {
            client,
            service,
            route: Arc::default(),
        }
    }

    async fn route(
        &self,
        options: Option<&CallOptions>,
        headers: &HeaderMap,
    ) -> Result<Arc<Route>> {
        if let Some(route) = self.route.get() {
            return Ok(Arc::clone(route));
        }
        let route = self
            .client
            .route_within(self.service.as_str(), options, headers);
        let route = route.await?;
        Ok(Arc::clone(self.route.get_or_init(|| route)))
    }

    /// A call with layers, or whose way may not be known yet.
    async fn send(self, begun: Instant, request: Request<Outgoing>) -> Result<Response<Answer>> {
        let options = request.extensions().get::<CallOptions>();
        let client = &self.client;
        if client.is_layered(options) {
            let called = Called::grpc(self.service.as_str(), request.uri().path());
            return client.layered(called, request).await;
        }
        let route = self.route(options, request.headers()).await?;
        let (parts, body) = request.into_parts();
        send_bare(&route, begun, parts, body).await
    }
}

impl Client {
    /// A gRPC request without layers.
    pub(crate) async fn grpc_bare(
        &self,
        service: &str,
        request: Request<Outgoing>,
    ) -> Result<Response<Answer>> {
        let begun = Instant::now();
        let options = request.extensions().get::<CallOptions>();
        let route = self
            .route_within(service, options, request.headers())
            .await?;
        let (parts, body) = request.into_parts();
        send_bare(&route, begun, parts, body).await
    }
}

async fn send_bare(
    route: &Route,
    begun: Instant,
    mut parts: Parts,
    body: Outgoing,
) -> Result<Response<Answer>> {
    let plan = plan(&mut parts);
    let options = parts.extensions.get::<CallOptions>();
    route.send_since(begun, &plan, body, options).await
}

/// What is sent, out of a request whose method and headers are then gone.
fn plan(parts: &mut Parts) -> Plan {
    let path = parts.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (method, headers) = (take(&mut parts.method), take(&mut parts.headers));
    Plan::Same(Head::new(method, path, headers, Version::Two))
}

impl<B> Service<Request<B>> for GrpcChannel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>>> + Send>>;

    /// Always: whether a node can take a call is known when one is picked.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let known = self.route.get().cloned();
        let layered = self
            .client
            .is_layered(request.extensions().get::<CallOptions>());
        if let Some(route) = known.filter(|_| !layered) {
            return Box::pin(async move {
                let (begun, (parts, body)) = (Instant::now(), request.into_parts());
                send_bare(&route, begun, parts, Outgoing::new(body)).await
            });
        }
        let channel = self.clone();
        Box::pin(async move {
            let begun = Instant::now();
            let (parts, body) = request.into_parts();
            let request = Request::from_parts(parts, Outgoing::new(body));
            channel.send(begun, request).await
        })
    }
}
