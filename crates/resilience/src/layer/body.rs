//! A body that ends at its call's deadline.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::BoxError;
use crate::context::in_scope;
use crate::{Context, Deadline, Expired};

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// go-micro's error; visible ASCII without `%`, so that it is a `grpc-message` as it stands.
pub(super) const EXPIRED: &str = concat!(
    r#"{"id":"go.micro.server","code":408,"#,
    r#""detail":"the deadline has passed","status":"Request Timeout"}"#
);

pin_project! {
    /// A body that is dropped at its call's deadline: gRPC's then ends with status 4, another with
    /// the error [`Expired`].
    pub struct BoundedBody<B> {
        #[pin]
        inner: Option<B>,
        // Boxed, made on the first wait: a body that can be moved stays one.
        sleep: Option<Pin<Box<Sleep>>>,
        said: Option<Bytes>,
        deadline: Option<Deadline>,
        context: Option<Context>,
        grpc: bool,
    }
}

impl<B> BoundedBody<B> {
    pub(super) fn new(inner: B, deadline: Option<Deadline>) -> Self {
        Self {
            inner: Some(inner),
            sleep: None,
            said: None,
            deadline,
            context: None,
            grpc: false,
        }
    }

    pub(super) fn on_behalf_of(mut self, context: Context, grpc: bool) -> Self {
        (self.context, self.grpc) = (Some(context), grpc);
        self
    }

    /// A body that says one thing, or nothing.
    pub(super) fn saying(said: Option<Bytes>) -> Self {
        Self {
            inner: None,
            sleep: None,
            said,
            deadline: None,
            context: None,
            grpc: false,
        }
    }
}

impl<B> fmt::Debug for BoundedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedBody")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl<B> Body for BoundedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Some(said) = this.said.take() {
            return Poll::Ready(Some(Ok(Frame::data(said))));
        }
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let is_over = inner.is_end_stream();
        if is_over || !this.deadline.is_some_and(Deadline::is_past) {
            let frame = match this.context {
                Some(context) => in_scope(context, || inner.poll_frame(cx)),
                None => inner.poll_frame(cx),
            };
            if let Poll::Ready(frame) = frame {
                // Nothing follows the end, and no deadline may be found to have passed behind it.
                if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    this.inner.set(None);
                }
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            if poll_timer(this.sleep, *this.deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
        match this.context {
            Some(context) => in_scope(context, || this.inner.set(None)),
            None => this.inner.set(None),
        }
        Poll::Ready(Some(if *this.grpc {
            let mut trailers = HeaderMap::new();
            say_expired(&mut trailers);
            Ok(Frame::trailers(trailers))
        } else {
            Err(Expired.into())
        }))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.inner.as_ref().is_none_or(Body::is_end_stream);
        self.said.is_none() && is_over
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.said, &self.inner) {
            (Some(said), _) => SizeHint::with_exact(said.len() as u64),
            (None, Some(inner)) => inner.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }
}

/// Waits for the deadline with a timer that is made on the first wait.
fn poll_timer(
    sleep: &mut Option<Pin<Box<Sleep>>>,
    deadline: Option<Deadline>,
    cx: &mut task::Context<'_>,
) -> Poll<()> {
    let Some(deadline) = deadline else {
        return Poll::Pending;
    };
    let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.at())));
    sleep.as_mut().poll(cx)
}

/// gRPC's status of a deadline that has passed, with go-micro's error as the message.
pub(super) fn say_expired(headers: &mut HeaderMap) {
    headers.insert(GRPC_STATUS, HeaderValue::from_static("4"));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(EXPIRED));
}
