//! The server's side of a deadline.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::{EXPIRED, say_expired};
use super::{BoundedBody, BoxError};
use crate::config::positive;
use crate::context::in_scope;
use crate::{Bounded, ConfigError, Context, Deadline, Expired, Forward, Metadata, Scoped};

/// Runs requests on behalf of their [`Context`], and none beyond its deadline.
///
/// A request whose deadline has passed is answered at once and never reaches the service; one that
/// is under way is dropped at its deadline, its body too. The answer is gRPC's status 4 for gRPC
/// and go-micro's error with 408 for others. A bad `Timeout` is [ignored](Deadline::accept).
#[derive(Debug, Clone, Default)]
pub struct ExpiryLayer {
    limit: Option<Duration>,
    forward: Forward,
}

impl ExpiryLayer {
    /// Without a limit of its own, handing on no metadata.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds requests that come with no deadline, a bad one, or a later one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for nothing.
    pub fn with_limit(mut self, limit: Duration) -> Result<Self, ConfigError> {
        self.limit = Some(positive("request limit", limit)?);
        Ok(self)
    }

    /// Says which headers calls made on behalf of a request hand on.
    #[must_use]
    pub fn with_forward(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }
}

impl<S> Layer<S> for ExpiryLayer {
    type Service = ExpiryService<S>;

    fn layer(&self, inner: S) -> ExpiryService<S> {
        let layer = self.clone();
        ExpiryService { inner, layer }
    }
}

/// What [`ExpiryLayer`] makes.
#[derive(Debug, Clone)]
pub struct ExpiryService<S> {
    inner: S,
    layer: ExpiryLayer,
}

impl<S> ExpiryService<S> {
    fn context(&self, headers: &HeaderMap) -> Context {
        let context = Context::from_headers(headers)
            .with_metadata(Metadata::from_headers(headers, &self.layer.forward));
        match self.layer.limit {
            Some(limit) => {
                let limit = Deadline::after(limit).earlier_of(context.deadline());
                context.with_deadline(limit)
            }
            None => context,
        }
    }
}

impl<S, B, R> Service<Request<B>> for ExpiryService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<BoundedBody<R>>;
    type Error = S::Error;
    type Future = ExpiryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = self.context(request.headers());
        let grpc = is_grpc(request.headers());
        let deadline = context.deadline();
        let is_past = deadline.is_some_and(Deadline::is_past);
        let work = if is_past {
            Bounded::expired()
        } else {
            let work = in_scope(&context, || self.inner.call(request));
            Bounded::new(context.clone().scope(work), deadline)
        };
        ExpiryFuture {
            work,
            context,
            grpc,
            stage: if is_past { "before" } else { "during" },
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

pin_project! {
    /// The answer of an [`ExpiryService`].
    pub struct ExpiryFuture<F> {
        #[pin]
        work: Bounded<Scoped<F>>,
        context: Context,
        grpc: bool,
        stage: &'static str,
    }
}

impl<F> fmt::Debug for ExpiryFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExpiryFuture").field(&self.work).finish()
    }
}

impl<F, R, E> Future for ExpiryFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<BoundedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (context, grpc) = (&*this.context, *this.grpc);
        this.work.poll(cx).map(|output| match output {
            Ok(response) => Ok(response?.map(|body| {
                BoundedBody::new(body, context.deadline()).on_behalf_of(context.clone(), grpc)
            })),
            Err(Expired) => {
                metrics::counter!("waypost_expired_requests_total", "stage" => *this.stage)
                    .increment(1);
                Ok(expired(grpc))
            }
        })
    }
}

fn expired<R>(grpc: bool) -> Response<BoundedBody<R>> {
    if grpc {
        let mut response = Response::new(BoundedBody::saying(None));
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        say_expired(response.headers_mut());
        return response;
    }
    let said = Bytes::from_static(EXPIRED.as_bytes());
    let mut response = Response::new(BoundedBody::saying(Some(said)));
    *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
