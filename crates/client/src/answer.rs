//! What comes back, and what its end tells about the node.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::time::{Sleep, sleep_until};
use waypost_resilience::{Deadline, code};
use waypost_selector::{Outcome, Pick};

use crate::body::BoxError;
use crate::error::{Error, ErrorKind};
use crate::pool::{Lease, Owned};

/// An answer's body. The connection goes back to its pool when it was read to the end; dropped
/// before, it is closed.
pub struct Answer {
    body: Source,
    lease: Option<Owned>,
    pick: Option<Pick>,
    /// What the head said about the node.
    outcome: Outcome,
    grpc: bool,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Where a body comes from.
enum Source {
    Node(hyper::body::Incoming),
    Made(UnsyncBoxBody<Bytes, BoxError>),
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Node(body) => body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Node(body) => body.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Node(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| Box::new(error) as BoxError),
            Self::Made(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Answer {
    /// An answer that no node gave, as a layer gives it: a cached one, a substitute, or a node's
    /// with another body.
    #[must_use]
    pub fn made<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            body: Source::Made(body.map_err(Into::into).boxed_unsync()),
            lease: None,
            pick: None,
            outcome: Outcome::IGNORED,
            grpc: false,
            deadline: None,
        }
    }

    /// An answer of these bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::made(Full::new(bytes.into()))
    }

    pub(crate) fn new(
        body: hyper::body::Incoming,
        lease: Lease,
        pick: Pick,
        outcome: Outcome,
        grpc: bool,
        deadline: Option<Deadline>,
    ) -> Self {
        let lease = match lease {
            Lease::One(owned) => Some(owned),
            Lease::Two(_) => None,
        };
        let mut answer = Self {
            body: Source::Node(body),
            lease,
            pick: Some(pick),
            outcome,
            grpc,
            deadline: None,
        };
        if answer.body.is_end_stream() {
            answer.end();
        } else {
            answer.deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline.at())));
        }
        answer
    }

    /// The node that answers, by its id.
    fn end(&mut self) {
        if let Some(pick) = self.pick.take() {
            pick.mark(self.outcome);
        }
        if let Some(lease) = self.lease.take() {
            lease.put_back();
        }
        self.deadline = None;
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let node = self.pick.as_ref().map(|pick| pick.node().id().clone());
        self.outcome = Outcome::FAILURE;
        // The connection is of no use any more.
        self.lease = None;
        self.end();
        let error = match node {
            Some(node) => error.with_node(node),
            None => error,
        };
        Poll::Ready(Some(Err(error.into())))
    }

    /// gRPC tells at the end how the call went.
    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc && grpc_code(trailers).is_some_and(|code| code >= code::INTERNAL) {
            self.outcome = Outcome::FAILURE;
        }
    }
}

/// go-micro's code for the gRPC status in these headers, if there is one.
pub(crate) fn grpc_code(headers: &HeaderMap) -> Option<u16> {
    let status = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(code::from_grpc(status))
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers(trailers);
                }
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) if matches!(self.body, Source::Made(_)) => {
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(Some(Err(error))) => {
                let text = "the answer broke off";
                self.fail(Error::new(ErrorKind::Transport, text).with_source(error))
            }
            Poll::Pending => {
                let passed = self
                    .deadline
                    .as_mut()
                    .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
                if passed {
                    let text = "the answer did not end in time";
                    return self.fail(Error::new(ErrorKind::Timeout, text));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("pick", &self.pick)
            .finish_non_exhaustive()
    }
}
