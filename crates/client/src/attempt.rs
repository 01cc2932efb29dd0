//! One attempt of a call: a connection, the request, and what its end means.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::response::Parts;
use http::uri::{Parts as UriParts, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, sleep_until, timeout_at};
use waypost_resilience::{Deadline, Outcome as Ended, Pushback, Sent, code};
use waypost_selector::{Node, Outcome, Pick};

use crate::answer::{Answer, discard, grpc_code, is_fault};
use crate::body::Sending;
use crate::call::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::node_of::NodeOf;
use crate::plan::Reading;
use crate::pool::{Lease, Line};
use crate::route::Head;
use crate::rpc::{Protocol, message};
use crate::version::Version;

/// How often a call takes another connection to the same node, when the one that it took turns out
/// to be closed.
const LINES: usize = 4;

/// Headers that an attempt adds to the call's own: the host, two of the deadline, one of the trace.
const ADDED: usize = 4;

/// One attempt's end.
pub(crate) struct Tried {
    pub(crate) node: Arc<Node>,
    pub(crate) sent: Sent,
    /// One of go-micro's codes.
    pub(crate) code: u16,
    wish: Pushback,
    result: Result<Got>,
}

/// An answer, and what its head says of the node.
struct Got {
    response: Parts,
    held: Held,
    pick: Pick,
    outcome: Outcome,
}

/// What an attempt has of an answer's body.
pub(crate) enum Held {
    /// All is still to come, over this.
    Live(Incoming, Lease),
    /// All of it.
    Whole(Bytes),
}

impl Call<'_> {
    /// Makes an attempt; `now` saves a look at the clock. What it says against the node is told.
    ///
    /// What seldom happens is on the heap, here and below: it would make every call's future larger,
    /// which is moved several times.
    pub(crate) async fn attempt(
        &mut self,
        pick: Pick,
        now: Instant,
    ) -> Result<Response<Answer>, Box<Tried>> {
        let (response, held) = match self.tried_on(&pick, now).await {
            Ok(answered) => answered,
            Err(error) => return Err(Box::new(Tried::broken(pick, error))),
        };
        let grpc = self.plan.any().grpc;
        let judged = Judged::of_head(response.status, &response.headers, grpc);
        let got = Got {
            response,
            held,
            pick,
            outcome: judged.outcome,
        };
        if judged.code < code::BAD_REQUEST {
            return Ok(self.answer(got));
        }
        Err(Box::new(Tried {
            node: got.pick.shared_node(),
            sent: Sent::Answered,
            code: judged.code,
            wish: judged.wish,
            result: Ok(got),
        }))
    }

    /// A connection to the node. Nothing is sent yet, so there is time left for another node.
    async fn lease(&mut self, pick: &Pick, now: Instant) -> Result<Lease> {
        let limit = self.limit(now, false);
        let version = self.plan.version(pick.node());
        let leased = async {
            self.route.reach(pick, version).await?;
            let pool = &self.route.peer(pick)?.pool;
            pool.lease(version, now).await
        };
        timeout_at(limit.at(), leased).await.unwrap_or_else(|_| {
            let text = "no connection was free in time";
            Err(Error::new(ErrorKind::Timeout, text))
        })
    }

    /// Sends, and waits for the answer's head, or for all of it where that is how it is read.
    async fn tried_on(&mut self, pick: &Pick, begun: Instant) -> Result<(Parts, Held)> {
        let (node, mut now) = (pick.node(), begun);
        let mut lease = match self
            .route
            .peer(pick)?
            .pool
            .ready(self.plan.version(node), now)
        {
            Some(lease) => lease,
            None => {
                let lease = Box::pin(self.lease(pick, now)).await?;
                now = Instant::now();
                lease
            }
        };
        let head = self.plan.head(node)?;
        let is_last = self.attempts.is_last(&self.rules) || !self.body.is_whole();
        // The wait for a connection is a part of the attempt.
        let limit = self.limit(begun, is_last);
        for left in (0..LINES).rev() {
            let request = self.request(head, limit, now);
            let sent = match &mut lease.line {
                Line::One(owned) => {
                    let sent = owned.connection.sender.try_send_request(request);
                    answered(pin!(sent), limit).await
                }
                Line::Two(sender) => answered(pin!(sender.try_send_request(request)), limit).await,
            };
            let mut error = match sent {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    let text = "the node switched protocols, which nobody asked for";
                    return Err(Error::new(ErrorKind::Transport, text).with_sent(Sent::Maybe));
                }
                Ok(response) => {
                    return match head.reading {
                        Reading::Passed => {
                            let (response, body) = response.into_parts();
                            Ok((response, Held::Live(body, lease)))
                        }
                        Reading::Message { protocol, largest } => {
                            Box::pin(whole(protocol, largest, response, lease, limit)).await
                        }
                    };
                }
                Err(Some(error)) => error,
                Err(None) => {
                    let error = Error::new(ErrorKind::Timeout, "no answer in time");
                    return Err(error.with_sent(Sent::Maybe));
                }
            };
            let Some(request) = error.take_message() else {
                return Err(broken(error.into_error()));
            };
            self.body.put_back(request.into_body());
            if left == 0 || !lease.used_before {
                let text = "the connection was closed before the call was sent";
                let error = Error::new(ErrorKind::Transport, text).with_source(error.into_error());
                return Err(error);
            }
            // An idle connection may end at any moment; that says nothing about the node.
            drop(lease);
            lease = Box::pin(self.lease(pick, Instant::now())).await?;
            now = Instant::now();
        }
        Err(Error::new(ErrorKind::Transport, "no connection lasted"))
    }

    /// When the coming attempt must be over.
    fn limit(&self, now: Instant, is_last: bool) -> Deadline {
        let left = self.rules.deadline.remaining_at(now);
        let limit = self.rules.retry.attempt_timeout().limit(left, is_last);
        Deadline::after_at(limit, now).earlier(self.rules.deadline)
    }

    fn request(&mut self, head: &Head, limit: Deadline, now: Instant) -> Request<Sending> {
        let route = self.route;
        let mut request = Request::new(self.body.take(head.skip, !head.grpc));
        *request.method_mut() = head.method.clone();
        if head.version == Version::Two {
            *request.version_mut() = http::Version::HTTP_2;
        }
        let headers = request.headers_mut();
        // Room for what is added below, so that it need not be moved then.
        headers.reserve(head.headers.len() + ADDED);
        for (name, value) in &head.headers {
            headers.append(name, value.clone());
        }
        self.context.write_to(headers, self.attempts.number());
        let mut uri = UriParts::default();
        uri.path_and_query = Some(head.path.clone());
        match head.version {
            Version::One => {
                let host = match &head.authority {
                    Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                    None => head.headers.get(HOST).cloned(),
                };
                headers.insert(HOST, host.unwrap_or_else(|| route.host.clone()));
            }
            Version::Two => {
                let tls = route.settings.connector.is_sealed();
                uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
                let authority = head.authority.as_ref().unwrap_or(&route.authority);
                uri.authority = Some(authority.clone());
            }
        }
        // In both: go-micro's services read their own header, also over gRPC.
        limit.write_to_at(headers, now);
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        request
    }

    /// Makes this what the call ends with.
    pub(crate) fn end(&self, tried: Tried) -> Result<Response<Answer>> {
        let got = tried.result?;
        Ok(self.answer(got))
    }

    fn answer(&self, got: Got) -> Response<Answer> {
        let (mut response, mut pick, outcome) = (got.response, got.pick, got.outcome);
        let node = NodeOf::new(pick.shared_node(), self.attempts.started());
        response.extensions.insert(node);
        let grpc = self.plan.any().grpc;
        let answer = match got.held {
            Held::Live(body, lease) => {
                // How long its body takes may be the caller's wish, or its slowness.
                pick.answered();
                Answer::new(body, lease, pick, outcome, grpc, self.bound)
            }
            Held::Whole(bytes) => {
                pick.mark(outcome);
                Answer::full(bytes)
            }
        };
        Response::from_parts(response, answer)
    }
}

impl Tried {
    #[cold]
    fn broken(pick: Pick, error: Error) -> Self {
        let node = pick.shared_node();
        pick.mark(blame(&error));
        Self {
            sent: error.sent(),
            code: error.code(),
            wish: Pushback {
                after: error.retry_after(),
                never: error.forbids_retry(),
            },
            result: Err(error.with_node(node.id())),
            node,
        }
    }

    /// Whether no node could do better: nothing is to be tried again.
    pub(crate) fn is_callers_fault(&self) -> bool {
        let error = self.result.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::Config)
    }

    /// What the retry policy is shown.
    pub(crate) fn as_outcome(&self) -> Ended<'_> {
        let ended = Ended::new(self.code, self.sent)
            .with_node(self.node.id().as_str())
            .with_pushback(self.wish);
        match &self.result {
            Err(error) => ended.with_error(error),
            Ok(_) => ended,
        }
    }

    /// Lets go of an answer that is not the call's.
    pub(crate) fn discard(self) {
        if let Ok(got) = self.result {
            got.pick.mark(got.outcome);
            if let Held::Live(body, lease) = got.held
                && let Line::One(owned) = lease.line
            {
                discard(body, owned);
            }
        }
    }
}

type Unsent = Box<TrySendError<Request<Sending>>>;

/// Waits for an answer's head; none in time is `Err(None)`. An error has the request in it, so it is
/// put aside before it is passed on with the answer.
async fn answered<F>(
    mut sent: Pin<&mut F>,
    limit: Deadline,
) -> Result<Response<Incoming>, Option<Unsent>>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<Sending>>>>,
{
    let mut sleep = pin!(sleep_until(limit.at()));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = sent.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|error| Some(Box::new(error))));
        }
        sleep.as_mut().poll(cx).map(|()| Err(None))
    })
    .await
}

/// Reads all of an answer, so that one that breaks off can be tried again.
async fn whole(
    protocol: Protocol,
    largest: usize,
    response: Response<Incoming>,
    lease: Lease,
    limit: Deadline,
) -> Result<(Parts, Held)> {
    let answer = message::read(protocol, largest, response, lease);
    let answer = timeout_at(limit.at(), answer).await.unwrap_or_else(|_| {
        let error = Error::new(ErrorKind::Timeout, "the answer did not end in time");
        Err(error.with_sent(Sent::Maybe))
    })?;
    let (response, bytes) = answer.into_parts();
    Ok((response, Held::Whole(bytes)))
}

/// What the end of an attempt means, for the call and for the node.
pub(crate) struct Judged {
    pub(crate) code: u16,
    pub(crate) outcome: Outcome,
    pub(crate) wish: Pushback,
}

impl Judged {
    /// The node answered, with this head.
    pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap, grpc: bool) -> Self {
        let status = status.as_u16();
        let code = match grpc_code(headers) {
            Some(code) if grpc && status == code::OK => code,
            _ => status,
        };
        if code < code::BAD_REQUEST {
            let (outcome, wish) = (Outcome::SUCCESS, Pushback::default());
            return Self {
                code,
                outcome,
                wish,
            };
        }
        let wish = Pushback::from_headers(headers);
        Self {
            code,
            outcome: told(code, wish.after),
            wish,
        }
    }
}

/// What an answer with an error says about the node.
fn told(code: u16, rest: Option<Duration>) -> Outcome {
    let outcome = if is_fault(code) {
        Outcome::FAILURE
    } else {
        Outcome::SUCCESS
    };
    rest.map_or(outcome, |rest| outcome.with_retry_after(rest))
}

/// What an error says about the node. What is the caller's fault or our own limit says nothing, nor
/// does a node that refuses politely.
pub(crate) fn blame(error: &Error) -> Outcome {
    match (error.kind(), error.sent()) {
        (ErrorKind::Node, _) => told(error.code(), error.retry_after()),
        (ErrorKind::Connect, _) => Outcome::UNREACHABLE,
        (ErrorKind::Config, _) | (_, Sent::Never) => Outcome::IGNORED,
        _ => Outcome::FAILURE,
    }
}

/// What broke while the call was sent or its answer awaited.
fn broken(error: hyper::Error) -> Error {
    if is_refused(&error) {
        let text = "the node took nothing of the call";
        return Error::new(ErrorKind::Transport, text).with_source(error);
    }
    if error.is_user() {
        let text = "the request cannot be sent as it is, or its body broke off";
        let error = Error::config(text).with_source(error);
        return error.with_sent(Sent::Maybe);
    }
    let text = if error.is_parse() {
        "the node's answer is no answer"
    } else {
        "the connection broke"
    };
    let error = Error::new(ErrorKind::Transport, text).with_source(error);
    error.with_sent(Sent::Maybe)
}

/// Whether the node says that it took nothing of the request (RFC 9113, section 8.7). A GOAWAY is
/// an error of those streams only that are behind its last one, or were never opened.
fn is_refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            return h2.is_remote() && (refused || h2.is_go_away());
        }
        source = cause.source();
    }
    false
}
