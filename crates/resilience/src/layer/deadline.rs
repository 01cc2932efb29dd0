//! The client's side of a deadline.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{BoundedBody, BoxError};
use crate::config::positive;
use crate::{Bounded, ConfigError, Context, Deadline};

/// Bounds a call, its answer's body included, and tells the server what is left.
///
/// The deadline is the earliest of the layer's, the [`Context`]'s and that of a `DeadlineLayer`
/// further out: inside a [`RetryLayer`](super::RetryLayer) it bounds one try. A call that is late
/// ends with [`Expired`](crate::Expired); with less than 5 ms left it never starts.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    total: Duration,
}

impl DeadlineLayer {
    /// Bounds calls to `total`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for nothing.
    pub fn new(total: Duration) -> Result<Self, ConfigError> {
        let total = positive("timeout", total)?;
        Ok(Self { total })
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        let total = self.total;
        DeadlineService { inner, total }
    }
}

/// What [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub struct DeadlineService<S> {
    inner: S,
    total: Duration,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<BoundedBody<R>>;
    type Error = BoxError;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let deadline = Deadline::after_at(self.total, now)
            .earlier_of(Context::with(Context::deadline))
            .earlier_of(request.extensions().get().copied());
        if deadline.remaining_at(now) < Deadline::LEAST {
            let work = Bounded::expired();
            return DeadlineFuture { work, deadline };
        }
        deadline.write_to_at(request.headers_mut(), now);
        request.extensions_mut().insert(deadline);
        let work = deadline.bound(self.inner.call(request));
        DeadlineFuture { work, deadline }
    }
}

pin_project! {
    /// The answer of a [`DeadlineService`].
    pub struct DeadlineFuture<F> {
        #[pin]
        work: Bounded<F>,
        deadline: Deadline,
    }
}

impl<F> fmt::Debug for DeadlineFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlineFuture").field(&self.work).finish()
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<BoundedBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let deadline = Some(*this.deadline);
        this.work.poll(cx).map(|output| {
            let response = output?.map_err(Into::into)?;
            Ok(response.map(|body| BoundedBody::new(body, deadline)))
        })
    }
}
