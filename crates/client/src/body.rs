//! What is sent, kept where it can be sent again, and what comes back.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::task::noop_waker_ref;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// Any error, as bodies have them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The most of a request that is kept for sending it again.
const KEPT: usize = 1 << 20;

/// A request's body.
///
/// What is there at once is kept, up to 1 MiB, so that another attempt can send it again. A stream
/// goes out once: its call is tried again only while nothing of it was sent.
pub struct Outgoing {
    ready: Bytes,
    rest: Rest,
}

/// What of a body is not there at once.
enum Rest {
    None,
    Coming(UnsyncBoxBody<Bytes, BoxError>),
    /// An attempt took it.
    Gone,
}

impl Outgoing {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// These bytes.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            ready: bytes.into(),
            rest: Rest::None,
        }
    }

    /// Any body. What it has ready now is taken; it counts as a stream when it then wants to wait.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::collected(body.map_err(Into::into).boxed_unsync())
    }

    fn collected(mut body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        let mut first: Option<Bytes> = None;
        let mut more = BytesMut::new();
        let mut context = Context::from_waker(noop_waker_ref());
        let rest = loop {
            let kept = first.as_ref().map_or(0, Bytes::len) + more.len();
            if kept >= KEPT {
                break Rest::Coming(body);
            }
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if first.is_none() => first = Some(data),
                    Ok(data) => more.extend_from_slice(&data),
                    // Trailers of a request: the stream has ended with them.
                    Err(trailers) => {
                        let last =
                            http_body_util::StreamBody::new(futures_util::stream::iter([Ok(
                                trailers,
                            )]));
                        break Rest::Coming(last.boxed_unsync());
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    let broken = futures_util::stream::iter([Err(error)]);
                    break Rest::Coming(http_body_util::StreamBody::new(broken).boxed_unsync());
                }
                Poll::Ready(None) => break Rest::None,
                Poll::Pending => break Rest::Coming(body),
            }
        };
        let first = first.unwrap_or_default();
        let ready = if more.is_empty() {
            first
        } else {
            let mut all = BytesMut::with_capacity(first.len() + more.len());
            all.extend_from_slice(&first);
            all.extend_from_slice(&more);
            all.freeze()
        };
        Self { ready, rest }
    }

    /// Whether all of it is there, so that it can be sent again.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::None)
    }

    /// Whether another attempt can have all of it.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self.rest, Rest::Gone)
    }

    /// What is kept of it.
    pub(crate) fn ready(&self) -> &Bytes {
        &self.ready
    }

    /// The body for one attempt, without its first `skip` bytes; its length is told beforehand where
    /// the protocol wants that. Of a stream there is one only: afterwards it is no more there.
    pub(crate) fn take(&mut self, skip: usize, sized: bool) -> Sending {
        let ready = match skip {
            0 => self.ready.clone(),
            _ => self.ready.slice(skip.min(self.ready.len())..),
        };
        let rest = match std::mem::replace(&mut self.rest, Rest::Gone) {
            Rest::Coming(rest) => Some(rest),
            none => {
                self.rest = none;
                None
            }
        };
        Sending {
            ready: Some(ready).filter(|ready| !ready.is_empty()),
            rest,
            sized,
        }
    }

    /// Puts back what an attempt did not send.
    pub(crate) fn put_back(&mut self, unsent: Sending) {
        if let Some(rest) = unsent.rest {
            self.rest = Rest::Coming(rest);
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("ready", &self.ready.len())
            .field("whole", &self.is_whole())
            .finish()
    }
}

/// One attempt's body.
pub(crate) struct Sending {
    ready: Option<Bytes>,
    rest: Option<UnsyncBoxBody<Bytes, BoxError>>,
    /// Whether its length goes into the head. gRPC's messages have theirs before them.
    sized: bool,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(ready))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.as_ref().map_or(0, Bytes::len) as u64;
        match &self.rest {
            None if !self.sized => SizeHint::default(),
            None => SizeHint::with_exact(ready),
            Some(rest) => {
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(ready));
                }
                hint.set_lower(rest.lower().saturating_add(ready));
                hint
            }
        }
    }
}
