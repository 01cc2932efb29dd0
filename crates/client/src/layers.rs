//! Layers around whole calls, and the order of all that a call goes through.
//!
//! Outside in, with the reason for each place:
//!
//! 1. layers of the call ([`CallOptions::with_layer`]): who makes the call knows best, and sees all;
//! 2. layers of the client ([`ClientBuilder::layer`](crate::ClientBuilder::layer)), the first added
//!    outermost: a company's defaults, once a call however often it is tried;
//! 3. the total deadline: within the layers, so that a layer that answers by itself needs none, and
//!    around all attempts, so that what comes below cannot outlast it;
//! 4. retry with its budget: around the pick, so that another attempt goes to another node;
//! 5. the pick: filters, shares of versions, ejection; each attempt anew;
//! 6. the attempt's deadline: behind the pick, so that a slow node costs its own share only;
//! 7. the pool: the wait for a connection counts against the attempt;
//! 8. the connection.
//!
//! Each attempt tells its node's statistics; only the call's result reaches the layers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use crate::answer::Answer;
use crate::body::{BoxError, Outgoing};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::options::CallOptions;
use crate::rpc::{Coding, Protocol, framed};

/// What a layer wraps: a whole call, with all its attempts. The request's extensions have a
/// [`Called`] and the [`CallOptions`].
pub type CallService = BoxCloneSyncService<Request<Outgoing>, Response<Answer>, Error>;

/// What is called: among the extensions of each request that a layer sees.
#[derive(Debug, Clone)]
pub struct Called {
    service: Arc<str>,
    endpoint: Arc<str>,
    way: Way,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Http,
    Grpc,
    Call(Coding),
}

impl Called {
    pub(crate) fn call(service: &str, endpoint: &str, coding: Coding) -> Self {
        Self::new(service, endpoint, Way::Call(coding))
    }

    pub(crate) fn http(service: &str, endpoint: &str) -> Self {
        Self::new(service, endpoint, Way::Http)
    }

    pub(crate) fn grpc(service: &str, endpoint: &str) -> Self {
        Self::new(service, endpoint, Way::Grpc)
    }

    fn new(service: &str, endpoint: &str, way: Way) -> Self {
        Self {
            service: service.into(),
            endpoint: endpoint.into(),
            way,
        }
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The endpoint: `Struct.Method` of typed calls, else the path.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// A layer, with its type forgotten.
#[derive(Clone)]
pub(crate) struct Wrapper(Arc<dyn Fn(CallService) -> CallService + Send + Sync>);

impl Wrapper {
    pub(crate) fn new<L, S, B>(layer: L) -> Self
    where
        L: Layer<CallService, Service = S> + Send + Sync + 'static,
        S: Service<Request<Outgoing>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(move |inner| {
            BoxCloneSyncService::new(Plain {
                inner: layer.layer(inner),
            })
        }))
    }

    pub(crate) fn wrap(&self, inner: CallService) -> CallService {
        (self.0)(inner)
    }
}

impl fmt::Debug for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer")
    }
}

/// Gives a layered service the types of the one below.
#[derive(Clone)]
struct Plain<S> {
    inner: S,
}

impl<S, B> Service<Request<Outgoing>> for Plain<S>
where
    S: Service<Request<Outgoing>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx).map_err(foreign)
    }

    fn call(&mut self, request: Request<Outgoing>) -> Self::Future {
        let call = self.inner.call(request);
        Box::pin(async move {
            let answer = call.await.map_err(foreign)?;
            Ok(answer.map(Answer::made))
        })
    }
}

/// A layer's error; a call's own comes back as it was.
fn foreign<E: Into<BoxError>>(error: E) -> Error {
    match error.into().downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Layer, "a layer ended the call").with_source(error),
    }
}

/// The innermost: the call itself.
#[derive(Clone)]
struct Innermost(Client);

impl Service<Request<Outgoing>> for Innermost {
    type Response = Response<Answer>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Outgoing>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move { client.without_layers(request).await })
    }
}

/// What the client has around its calls, outermost first.
pub(crate) fn stack(client: &Client, layers: &[Wrapper]) -> CallService {
    let innermost = BoxCloneSyncService::new(Innermost(client.bare()));
    wrapped(innermost, layers)
}

fn wrapped(inner: CallService, layers: &[Wrapper]) -> CallService {
    layers
        .iter()
        .rev()
        .fold(inner, |inner, one| one.wrap(inner))
}

impl Client {
    /// Whether anything is around a call with these options.
    pub(crate) fn is_layered(&self, options: Option<&CallOptions>) -> bool {
        self.stack().is_some() || options.is_some_and(|options| !options.layers.is_empty())
    }

    /// Sends a request through the layers.
    pub(crate) async fn layered(
        &self,
        called: Called,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Answer>> {
        let options = request.extensions().get::<CallOptions>();
        let layers = options.map(|options| options.layers.clone());
        request.extensions_mut().insert(called);
        let client = self.stack().cloned();
        let client = client.unwrap_or_else(|| stack(self, &[]));
        let mut service = wrapped(client, &layers.unwrap_or_default());
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    }

    /// Sends a typed call through the layers.
    pub(crate) async fn through_layers(
        &self,
        called: Called,
        message: Bytes,
        options: &CallOptions,
    ) -> Result<Response<Answer>> {
        let mut request = Request::new(Outgoing::full(message));
        *request.method_mut() = Method::POST;
        if let Way::Call(coding) = called.way {
            let value = HeaderValue::from_static(coding.content_type(Protocol::Http));
            request.headers_mut().insert(CONTENT_TYPE, value);
        }
        // For layers that look at the URI; where the names make none, they have `Called`.
        let slash = if called.endpoint.starts_with('/') {
            ""
        } else {
            "/"
        };
        let uri = format!("http://{}{slash}{}", called.service, called.endpoint);
        if let Ok(uri) = uri.parse::<Uri>() {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(options.clone());
        self.layered(called, request).await
    }

    async fn without_layers(&self, mut request: Request<Outgoing>) -> Result<Response<Answer>> {
        let Some(called) = request.extensions_mut().remove::<Called>() else {
            return Err(Error::config("a layer took away what is called (`Called`)"));
        };
        match called.way {
            Way::Http => {
                let (begun, (parts, body)) = (Instant::now(), request.into_parts());
                self.request_bare(begun, parts, body).await
            }
            Way::Grpc => self.grpc_bare(&called.service, request).await,
            Way::Call(coding) => {
                let (parts, body) = request.into_parts();
                if !body.is_whole() {
                    return Err(Error::config(
                        "a layer made a stream of a typed call's message",
                    ));
                }
                let message = framed(|bytes| {
                    bytes.put_slice(body.ready());
                    Ok(())
                })?;
                let none = CallOptions::new();
                let options = parts.extensions.get::<CallOptions>().unwrap_or(&none);
                let (service, endpoint) = (&called.service, &called.endpoint);
                self.exchange_bare(service, endpoint, coding, parts.headers, message, options)
                    .await
            }
        }
    }
}

/// Applies a layer to the calls of some endpoints only (go-micro's `endpoint` wrapper).
///
/// ```
/// use std::time::Duration;
/// use tower::timeout::TimeoutLayer;
/// use waypost_client::{Client, OnlyFor};
///
/// let slow = OnlyFor::new(
///     |called| called.service() == "orders" && called.endpoint() == "Orders.Export",
///     TimeoutLayer::new(Duration::from_secs(1)),
/// );
/// let builder = Client::builder().layer(slow);
/// # let _ = builder;
/// ```
#[derive(Debug, Clone)]
pub struct OnlyFor<P, L> {
    applies: P,
    layer: L,
}

impl<P, L> OnlyFor<P, L>
where
    P: Fn(&Called) -> bool + Clone,
{
    /// `layer` for the calls that `applies` is true of.
    pub fn new(applies: P, layer: L) -> Self {
        Self { applies, layer }
    }
}

impl<P, L, S, B> Layer<CallService> for OnlyFor<P, L>
where
    P: Fn(&Called) -> bool + Clone,
    L: Layer<CallService, Service = S>,
    S: Service<Request<Outgoing>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Service = OnlyForService<P>;

    fn layer(&self, inner: CallService) -> OnlyForService<P> {
        OnlyForService {
            applies: self.applies.clone(),
            with: BoxCloneSyncService::new(Plain {
                inner: self.layer.layer(inner.clone()),
            }),
            without: inner,
        }
    }
}

/// The service of [`OnlyFor`].
#[derive(Debug, Clone)]
pub struct OnlyForService<P> {
    applies: P,
    with: CallService,
    without: CallService,
}

impl<P> Service<Request<Outgoing>> for OnlyForService<P>
where
    P: Fn(&Called) -> bool,
{
    type Response = Response<Answer>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>>> + Send>>;

    /// Always: which of the two is asked is known with the request.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Outgoing>) -> Self::Future {
        let called = request.extensions().get::<Called>();
        let mut service = if called.is_some_and(|called| (self.applies)(called)) {
            self.with.clone()
        } else {
            self.without.clone()
        };
        Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        })
    }
}
