//! A span and a measurement a request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument as _, Span};

use crate::counters::Counters;
use crate::fault;
use crate::trace::{self, TraceContext};

/// What no route matched. Never the path itself: callers choose it, and each would be a series.
const UNMATCHED: &str = "unmatched";
/// gRPC's status for a method that does not exist.
const UNIMPLEMENTED: u16 = 12;

/// Gives every request a span, and counts and measures it when its answer has ended.
#[derive(Debug, Clone)]
pub(crate) struct Observe(pub(crate) Arc<Counters>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed {
            inner,
            counters: Arc::clone(&self.0),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Observed<S> {
    inner: S,
    counters: Arc<Counters>,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(context) = TraceContext::of(request.headers()) {
            request.extensions_mut().insert(context);
        }
        let mut taken = Taken::begin(Arc::clone(&self.counters), &request);
        let span = taken.span.clone();
        let answer = span.in_scope(|| self.inner.call(request));
        let answering = async move {
            let response = answer.await?;
            taken.answered(&response);
            Ok(response.map(|body| Body::new(ObservedBody { body, taken })))
        };
        Box::pin(answering.instrument(span))
    }
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// Not at all: the caller went away, or was cut off.
    Cancelled,
    Http(u16),
    Grpc(u16),
}

/// One request, from its arrival until its answer has ended or is dropped.
struct Taken {
    counters: Arc<Counters>,
    begun: Instant,
    /// The route's template, if one matched.
    route: Option<MatchedPath>,
    /// The method's path of a gRPC call.
    method: Option<String>,
    code: Code,
    span: Span,
}

impl Taken {
    fn begin(counters: Arc<Counters>, request: &Request) -> Self {
        counters.requests.fetch_add(1, Relaxed);
        counters.in_flight.fetch_add(1, Relaxed);
        let service = &*counters.service;
        counters.gauge.increment(1.0);
        let route = request.extensions().get::<MatchedPath>().cloned();
        let shown = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        let grpc = fault::is_grpc(request);
        Self {
            span: trace::span(request, service, shown),
            method: grpc.then(|| request.uri().path().trim_start_matches('/').to_owned()),
            counters,
            begun: Instant::now(),
            route,
            code: Code::Cancelled,
        }
    }

    fn answered(&mut self, response: &Response) {
        if self.method.is_none() || !response.status().is_success() {
            self.code = Code::Http(response.status().as_u16());
        } else {
            self.ended(response.headers());
        }
    }

    /// Takes the status of a gRPC call from the headers or trailers that have it.
    fn ended(&mut self, headers: &HeaderMap) {
        let status = headers
            .get("grpc-status")
            .and_then(|status| status.to_str().ok());
        if let Some(status) = status.and_then(|status| status.parse().ok()) {
            self.code = Code::Grpc(status);
        }
    }

    /// The endpoint's label: a gRPC method that exists, else the route's template.
    fn endpoint(&self) -> String {
        match (&self.method, &self.route, self.code) {
            (_, None, _) | (Some(_), _, Code::Grpc(UNIMPLEMENTED)) => UNMATCHED.to_owned(),
            (Some(method), Some(_), Code::Grpc(_)) => method.clone(),
            (_, Some(route), _) => route.as_str().to_owned(),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let (protocol, code) = match self.code {
            Code::Cancelled if self.method.is_some() => ("grpc", "cancelled".to_owned()),
            Code::Cancelled => ("http", "cancelled".to_owned()),
            Code::Http(code) => ("http", code.to_string()),
            Code::Grpc(code) => ("grpc", code.to_string()),
        };
        self.span.record("code", &*code);
        let failed = match self.code {
            Code::Cancelled => false,
            Code::Http(code) => code >= 500,
            Code::Grpc(code) => code != 0,
        };
        self.counters.in_flight.fetch_sub(1, Relaxed);
        self.counters.failed.fetch_add(u64::from(failed), Relaxed);
        self.counters.gauge.decrement(1.0);
        metrics::histogram!(
            "waypost_server_request_duration_seconds",
            "service" => Arc::clone(&self.counters.service),
            "endpoint" => self.endpoint(),
            "protocol" => protocol,
            "code" => code,
        )
        .record(self.begun.elapsed().as_secs_f64());
    }
}

/// A body that ends the measurement when it is dropped, and sees a gRPC call's trailers.
struct ObservedBody {
    body: Body,
    taken: Taken,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let span = this.taken.span.clone();
        let polled = span.in_scope(|| Pin::new(&mut this.body).poll_frame(context));
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && this.taken.method.is_some()
        {
            this.taken.ended(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
