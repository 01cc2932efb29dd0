//! The HTTP face.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    CONNECTION, EXPECT, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use crate::answer::Answer;
use crate::body::{BoxError, Outgoing};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::layers::Called;
use crate::options::CallOptions;
use crate::plan::Plan;
use crate::route::Head;
use crate::version::Version;

/// What concerns one connection and is not passed on (RFC 9110, section 7.6.1). `Expect` neither:
/// the body is sent at once.
const OF_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    EXPECT,
];

impl Client {
    /// Gets `uri`, whose host is a service's name.
    ///
    /// # Errors
    /// As [`Client::request`].
    ///
    /// # Cancel safety
    /// Safe: the attempt under way is given up.
    pub async fn get(&self, uri: impl AsRef<str>) -> Result<Response<Answer>> {
        let uri: Uri = uri.as_ref().parse().map_err(|error| {
            Error::config(format!("{:?} is no URI", uri.as_ref())).with_source(invalid(error))
        })?;
        let mut request = Request::new(http_body_util::Empty::<Bytes>::new());
        *request.uri_mut() = uri;
        self.request(request).await
    }

    /// Makes a request whose URI's host is a service's name: `http://greeter/hello`.
    ///
    /// Any method, any body. Whether it may be repeated once it was sent is told by the method
    /// (RFC 9110, section 9.2.2), or by [`CallOptions`] among the request's extensions. An answer of
    /// any status is an answer; a redirect is not followed.
    ///
    /// The client's timeout bounds the time to the answer's head, so that a long body may take its
    /// time; a timeout of the call's own, and the deadline that it was made under, hold for the
    /// body too.
    ///
    /// # Errors
    /// What kept the call from being answered.
    ///
    /// # Cancel safety
    /// Safe: the attempt under way is given up.
    pub async fn request<B>(&self, request: Request<B>) -> Result<Response<Answer>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let begun = Instant::now();
        let (parts, body) = request.into_parts();
        let body = Outgoing::new(body);
        if self.is_layered(parts.extensions.get::<CallOptions>()) {
            let uri = &parts.uri;
            let called = Called::http(uri.host().unwrap_or_default(), uri.path());
            let request = Request::from_parts(parts, body);
            return Box::pin(self.layered(called, request)).await;
        }
        self.request_bare(begun, parts, body).await
    }

    /// A request without layers.
    pub(crate) async fn request_bare(
        &self,
        begun: Instant,
        mut parts: Parts,
        body: Outgoing,
    ) -> Result<Response<Answer>> {
        let options = parts.extensions.get::<CallOptions>();
        let route = self.route_within(service_of(&parts)?, options, &parts.headers);
        let route = route.await?;
        let plan = plan(&mut parts);
        let options = parts.extensions.get::<CallOptions>();
        route.send_since(begun, &plan, body, options).await
    }
}

/// What is sent, out of a request whose method and headers are then gone.
fn plan(parts: &mut Parts) -> Plan {
    let path = parts.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let method = std::mem::take(&mut parts.method);
    let mut headers = std::mem::take(&mut parts.headers);
    strip(&mut headers);
    Plan::Same(Head::new(method, path, headers, Version::One))
}

/// The service that a request is for.
fn service_of(parts: &Parts) -> Result<&str> {
    if parts.method == Method::CONNECT || parts.headers.contains_key(UPGRADE) {
        let text = "a connection cannot be handed over: CONNECT and Upgrade are not carried";
        return Err(Error::config(text));
    }
    let Some(authority) = parts.uri.authority() else {
        return Err(Error::config(format!(
            "{:?} names no service; http://service-name/path is needed",
            parts.uri.to_string()
        )));
    };
    if parts.uri.scheme() != Some(&Scheme::HTTP) {
        return Err(Error::config(format!(
            "{:?} is no http:// URI; whether nodes are spoken to in TLS is the client's setting",
            parts.uri.to_string()
        )));
    }
    let name = authority.as_str();
    // Of a plain name all is host; else the crate looks where its host is.
    if !name.bytes().any(|byte| matches!(byte, b':' | b'@' | b'[')) {
        return Ok(name);
    }
    if authority.port().is_some() || name.contains('@') {
        return Err(Error::config(format!(
            "{name:?} names more than a service; http://service-name/path is needed",
        )));
    }
    Ok(authority.host())
}

fn invalid(error: http::uri::InvalidUri) -> BoxError {
    error.into()
}

fn strip(headers: &mut HeaderMap) {
    if headers.is_empty() {
        return;
    }
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
}

/// A `tower::Service` for requests to `http://service-name/path`: [`Client::request`].
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
}

impl HttpClient {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl<B> Service<Request<B>> for HttpClient
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
        let client = self.client.clone();
        Box::pin(async move { client.request(request).await })
    }
}
