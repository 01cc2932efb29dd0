//! A handler that panics answers 500, and nothing else happens.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::check::panic_text;
use crate::counters::Counters;
use crate::fault;

/// What a caller is told; the panic's own words are for the log.
const DETAIL: &str = "a handler panicked";

/// Catches what unwinds out of a handler or out of the body of its answer.
#[derive(Debug, Clone)]
pub(crate) struct CatchPanics(pub(crate) Arc<Counters>);

impl<S> Layer<S> for CatchPanics {
    type Service = Caught<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Caught {
            inner,
            counters: Arc::clone(&self.0),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Caught<S> {
    inner: S,
    counters: Arc<Counters>,
}

impl<S> Service<Request> for Caught<S>
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

    fn call(&mut self, request: Request) -> Self::Future {
        let grpc = fault::is_grpc(&request);
        let counters = Arc::clone(&self.counters);
        // A handler may panic before it has a future.
        let called = catch_unwind(AssertUnwindSafe(|| self.inner.call(request)));
        Box::pin(async move {
            let answered = match called {
                Ok(future) => AssertUnwindSafe(future).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            Ok(match answered {
                Ok(Ok(response)) => response.map(|body| {
                    Body::new(CaughtBody {
                        body,
                        counters,
                        grpc,
                        ended: false,
                    })
                }),
                Ok(Err(never)) => match never {},
                Err(panic) => {
                    counters.panicked(panic_text(&*panic));
                    let id = &*counters.service;
                    if grpc {
                        fault::grpc(id, DETAIL)
                    } else {
                        fault::http(id, http::StatusCode::INTERNAL_SERVER_ERROR, DETAIL)
                    }
                }
            })
        })
    }
}

/// A body whose panics end it: a gRPC stream with a status, any other with an error, so that the
/// peer sees that it is not whole.
struct CaughtBody {
    body: Body,
    counters: Arc<Counters>,
    grpc: bool,
    ended: bool,
}

impl http_body::Body for CaughtBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let body = AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(context));
        match catch_unwind(body) {
            Ok(polled) => polled,
            Err(panic) => {
                this.ended = true;
                this.counters.panicked(panic_text(&*panic));
                let frame = if this.grpc {
                    let id = &this.counters.service;
                    Ok(Frame::trailers(fault::grpc_status(id, DETAIL)))
                } else {
                    Err(axum::Error::new(DETAIL))
                };
                Poll::Ready(Some(frame))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
