//! What comes back, and what its end tells about the node.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep_until, timeout};
use waypost_resilience::{Deadline, code};
use waypost_selector::{Outcome, Pick};

use crate::body::BoxError;
use crate::error::{Error, ErrorKind};
use crate::pool::{Lease, Line, Owned};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What of an answer that nobody wants is read, so that its connection can be used again, and how long.
const READ: u64 = 64 << 10;
const READING: Duration = Duration::from_millis(100);

/// An answer's body. Its connection goes back to its pool when it was read to the end. Dropped
/// before, it is read to the end where little is left, else the connection is closed.
pub struct Answer {
    /// None once it broke off, and of an answer that was made.
    body: Option<Incoming>,
    made: Option<UnsyncBoxBody<Bytes, BoxError>>,
    lease: Option<Owned>,
    pick: Option<Pick>,
    /// What is known so far of how the node did.
    outcome: Outcome,
    grpc: bool,
    deadline: Option<Pin<Box<Sleep>>>,
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
            body: None,
            made: Some(body.map_err(Into::into).boxed_unsync()),
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
        body: Incoming,
        lease: Lease,
        pick: Pick,
        outcome: Outcome,
        grpc: bool,
        deadline: Option<Deadline>,
    ) -> Self {
        let whole = body.is_end_stream();
        let mut answer = Self {
            body: Some(body),
            made: None,
            lease: match lease.line {
                Line::One(owned) => Some(owned),
                Line::Two(_) => None,
            },
            pick: Some(pick),
            outcome,
            grpc,
            deadline: None,
        };
        if whole {
            answer.end();
        } else {
            answer.deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline.at())));
        }
        answer
    }

    /// It was read to the end.
    fn end(&mut self) {
        self.mark();
        if let Some(lease) = self.lease.take() {
            lease.put_back();
        }
        self.deadline = None;
    }

    fn mark(&mut self) {
        if let Some(pick) = self.pick.take() {
            pick.mark(self.outcome);
        }
    }

    /// It broke off: its connection is of no use any more.
    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let error = match &self.pick {
            Some(pick) => error.with_node(pick.node().id()),
            None => error,
        };
        self.outcome = Outcome::FAILURE;
        self.mark();
        (self.body, self.lease, self.deadline) = (None, None, None);
        Poll::Ready(Some(Err(error.into())))
    }

    /// gRPC tells at the end how the call went.
    fn trailers(&mut self, trailers: &HeaderMap) {
        if self.grpc && grpc_code(trailers).is_some_and(is_fault) {
            self.outcome = Outcome::FAILURE;
        }
    }
}

/// Whether a code says that the node fails, not the caller, nor that it lacks what was asked for.
pub(crate) fn is_fault(code: u16) -> bool {
    code >= code::INTERNAL && code != 501
}

/// go-micro's code for the gRPC status in these headers, if there is one.
pub(crate) fn grpc_code(headers: &HeaderMap) -> Option<u16> {
    let status = headers.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    Some(code::from_grpc(status))
}

/// Reads what is left of an answer that nobody wants, if that is little and comes soon.
pub(crate) fn discard(body: Incoming, lease: Owned) {
    let is_little = body.size_hint().lower() <= READ;
    if body.is_end_stream() {
        lease.put_back();
    } else if is_little && let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            if let Ok(Ok(_)) = timeout(READING, Limited::new(body, READ as usize).collect()).await {
                lease.put_back();
            }
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.mark();
        if let (Some(body), Some(lease)) = (self.body.take(), self.lease.take()) {
            discard(body, lease);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Before the body, which may always have something.
        if let Some(sleep) = &mut self.deadline
            && sleep.as_mut().poll(cx).is_ready()
        {
            let text = "the answer did not end in time";
            return self.fail(Error::new(ErrorKind::Timeout, text));
        }
        let Some(body) = &mut self.body else {
            let Some(made) = &mut self.made else {
                return Poll::Ready(None);
            };
            return Pin::new(made).poll_frame(cx);
        };
        match std::task::ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let ended = body.is_end_stream();
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers(trailers);
                }
                if ended {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.end();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                let text = "the answer broke off";
                self.fail(Error::new(ErrorKind::Transport, text).with_source(error))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let made = self.made.as_ref();
        self.body.as_ref().is_none_or(Body::is_end_stream) && made.is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.made) {
            (Some(body), _) => body.size_hint(),
            (None, Some(made)) => made.size_hint(),
            (None, None) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("pick", &self.pick)
            .finish_non_exhaustive()
    }
}
