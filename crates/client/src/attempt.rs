//! One attempt of a call: a connection, the request, and what its end means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Parts, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout_at};
use waypost_resilience::{Deadline, Outcome as Ended, Pushback, Sent, code};
use waypost_selector::{Node, Outcome, Pick};

use crate::answer::{Answer, discard, grpc_code, is_fault};
use crate::body::Sending;
use crate::call::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::node_of::NodeOf;
use crate::pool::{Lease, Line};
use crate::route::Head;
use crate::version::Version;

/// How often a call takes another connection to the same node, when the one that it took turns out
/// to be closed.
const LINES: usize = 4;

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
    response: Response<Held>,
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
    pub(crate) async fn attempt(&mut self, pick: Pick, now: Instant) -> Tried {
        let node = pick.shared_node();
        let result = match self.lease(&pick, now).await {
            Ok(lease) => self.sent_over(lease, &pick, now).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(response) => self.answered(node, pick, response),
            Err(error) => {
                pick.mark(blame(&error));
                Tried {
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
        }
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
    async fn sent_over(
        &mut self,
        mut lease: Lease,
        pick: &Pick,
        now: Instant,
    ) -> Result<Response<Held>> {
        let head = self.plan.head(pick.node())?;
        let is_last = self.attempts.is_last(&self.rules) || !self.body.is_whole();
        let limit = self.limit(now, is_last);
        for left in (0..LINES).rev() {
            let request = self.request(head, limit);
            let sending = timeout_at(limit.at(), send(&mut lease, request)).await;
            let mut error = match sending {
                Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    let text = "the node switched protocols, which nobody asked for";
                    return Err(Error::new(ErrorKind::Transport, text).with_sent(Sent::Maybe));
                }
                Ok(Ok(response)) => return head.reading.read(response, lease, limit).await,
                Ok(Err(error)) => error,
                Err(_) => {
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
            lease = self.lease(pick, Instant::now()).await?;
        }
        Err(Error::new(ErrorKind::Transport, "no connection lasted"))
    }

    /// When the coming attempt must be over.
    fn limit(&self, now: Instant, is_last: bool) -> Deadline {
        let left = self.rules.deadline.remaining_at(now);
        let limit = self.rules.retry.attempt_timeout().limit(left, is_last);
        Deadline::after_at(limit, now).earlier(self.rules.deadline)
    }

    fn request(&mut self, head: &Head, limit: Deadline) -> Request<Sending> {
        let route = self.route;
        let mut request = Request::new(self.body.take(head.skip));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        let mut uri = Parts::default();
        uri.path_and_query = Some(head.path.clone());
        match head.version {
            Version::One => {
                let host = match &head.authority {
                    Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                    None => head.headers.get(HOST).cloned(),
                };
                let host = host.unwrap_or_else(|| route.host.clone());
                request.headers_mut().insert(HOST, host);
            }
            Version::Two => {
                *request.version_mut() = http::Version::HTTP_2;
                let tls = route.settings.connector.is_sealed();
                uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
                let authority = head.authority.as_ref().unwrap_or(&route.authority);
                uri.authority = Some(authority.clone());
            }
        }
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        limit.write_to(request.headers_mut());
        let number = self.attempts.number();
        self.context.write_to(request.headers_mut(), number);
        request
    }

    /// Makes this what the call ends with.
    pub(crate) fn end(&self, tried: Tried) -> Result<Response<Answer>> {
        let got = tried.result?;
        let (pick, outcome) = (got.pick, got.outcome);
        let grpc = self.plan.any().grpc;
        let mut response = got.response.map(|held| match held {
            Held::Live(body, lease) => Answer::new(body, lease, pick, outcome, grpc, self.bound),
            Held::Whole(bytes) => {
                pick.mark(outcome);
                Answer::full(bytes)
            }
        });
        let node = NodeOf::new(tried.node, self.attempts.started());
        response.extensions_mut().insert(node);
        Ok(response)
    }

    /// What the head of an answer means, for the call and for the node.
    fn answered(&self, node: Arc<Node>, pick: Pick, response: Response<Held>) -> Tried {
        let grpc = self.plan.any().grpc;
        let Judged {
            code,
            outcome,
            wish,
        } = Judged::of_head(response.status(), response.headers(), grpc);
        let got = Got {
            response,
            pick,
            outcome,
        };
        Tried {
            node,
            sent: Sent::Answered,
            code,
            wish,
            result: Ok(got),
        }
    }
}

impl Tried {
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
            if let Held::Live(body, lease) = got.response.into_body()
                && let Line::One(owned) = lease.line
            {
                discard(body, owned);
            }
        }
    }
}

async fn send(
    lease: &mut Lease,
    request: Request<Sending>,
) -> Result<Response<Incoming>, TrySendError<Request<Sending>>> {
    match &mut lease.line {
        Line::One(owned) => owned.connection.sender.try_send_request(request).await,
        Line::Two(sender) => sender.try_send_request(request).await,
    }
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
