//! The way to one service: who follows its nodes, and one call through all its attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use waypost_core::{Followed, Freshness, Registry, ServiceName};
use waypost_resilience::{
    Attempts, CallInfo, Context, Deadline, Outcome as Ended, Pushback, RetryBudget,
    Rules as RetryRules, Sent, Verdict, Why, code,
};
use waypost_selector::{Balancer, NoneAvailable, Options, Outcome, Pick};

use crate::answer::{Answer, grpc_code};
use crate::body::Outgoing;
use crate::connect::Version;
use crate::error::{Error, ErrorKind, Result};
use crate::meter::Meter;
use crate::options::CallOptions;
use crate::peer::Peer;
use crate::plan::{Plan, Reading};
use crate::pool::{Lease, Pool};
use crate::settings::{Lookups, Settings};

/// How often another node is drawn when the first one drawn has no connection.
const DRAWS: usize = 3;

/// The way to one service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: ServiceName,
    pub(crate) balancer: Balancer,
    followed: Followed,
    registry: Arc<dyn Registry>,
    settings: Arc<Settings>,
    pub(crate) budget: RetryBudget,
    pub(crate) meter: Meter,
    authority: Authority,
    host: HeaderValue,
    feeder: AbortHandle,
}

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    /// Whether the answer's status is gRPC's.
    pub(crate) grpc: bool,
    /// Whether the deadline holds for the answer's body too.
    pub(crate) whole: bool,
    /// The `Host` or `:authority`, where it is not to be the service's name.
    pub(crate) authority: Option<Authority>,
    /// How much of the body's beginning is not for this node.
    pub(crate) skip: usize,
    pub(crate) reading: Reading,
}

/// What an attempt brings back.
pub(crate) enum Got {
    /// A head, and a body that is still to come.
    Live(hyper::body::Incoming, Lease),
    /// All of it.
    Whole(bytes::Bytes),
}

/// One attempt's end.
struct Tried {
    result: Result<Response<Got>>,
    sent: Sent,
}

impl Route {
    pub(crate) fn new(
        service: ServiceName,
        followed: Followed,
        registry: Arc<dyn Registry>,
        settings: Arc<Settings>,
    ) -> Result<Arc<Self>> {
        let fault = |error: waypost_core::Error| Error::config(error.to_string());
        let balancer = Balancer::new(service.clone(), settings.rules.clone()).map_err(fault)?;
        balancer.publish(&followed.members());
        let feeder = tokio::spawn(feed(
            followed.clone(),
            balancer.clone(),
            Arc::clone(&settings),
        ));
        let (authority, host) = authority_of(&service);
        Ok(Arc::new(Self {
            meter: Meter::new(&service),
            service,
            balancer,
            followed,
            registry,
            settings,
            budget: RetryBudget::default(),
            authority,
            host,
            feeder: feeder.abort_handle(),
        }))
    }

    /// Makes one call, with all its attempts.
    ///
    /// An answer with an error status that nobody retries is an answer, not an error.
    pub(crate) async fn send(
        &self,
        plan: Plan,
        mut body: Outgoing,
        options: Option<&CallOptions>,
    ) -> Result<Response<Answer>> {
        let head = plan.any();
        let begun = Instant::now();
        let context = Context::current();
        let timeout = options
            .and_then(|one| one.timeout)
            .unwrap_or(self.settings.timeout);
        let deadline = Deadline::after_at(timeout, begun)
            .earlier_of(context.deadline())
            .earlier_of(Deadline::accept(&head.headers));
        if self.settings.lookups == Lookups::EachCall {
            self.look_up(deadline).await;
        }
        let named = options.and_then(|one| one.endpoint.as_deref());
        let endpoint = named.unwrap_or(head.path.path());
        let idempotent = options
            .and_then(|one| one.idempotent)
            .unwrap_or_else(|| !head.grpc && head.method.is_idempotent());
        let call = CallInfo::new(self.service.as_str(), endpoint).with_idempotent(idempotent);
        let rules = RetryRules {
            retry: options
                .and_then(|one| one.retry.as_ref())
                .unwrap_or(&self.settings.retry),
            budget: &self.budget,
            call: &call,
            deadline,
        };
        let mut attempts = Attempts::new(context.attempt());
        let result = self
            .attempt_all(&rules, &mut attempts, &context, &plan, &mut body, options)
            .await;
        let result = result
            .map_err(|error| error.of_call(self.service.as_str(), endpoint, attempts.started()));
        self.meter.call(&result, begun);
        result
    }

    /// Asks the registry for the nodes now; where it does not tell, those that are known stay.
    async fn look_up(&self, deadline: Deadline) {
        let found = timeout_at(deadline.at(), self.registry.lookup(&self.service)).await;
        match found {
            Ok(Ok(found)) => self
                .balancer
                .publish_nodes(found.into_iter().map(Arc::new), []),
            Ok(Err(error)) => {
                tracing::debug!(service = %self.service, %error, "not looked up anew");
            }
            Err(_) => tracing::debug!(service = %self.service, "not looked up anew in time"),
        }
    }

    async fn attempt_all(
        &self,
        rules: &RetryRules<'_>,
        attempts: &mut Attempts,
        context: &Context,
        plan: &Plan,
        body: &mut Outgoing,
        options: Option<&CallOptions>,
    ) -> Result<Response<Answer>> {
        match attempts.first(rules, Instant::now()) {
            Verdict::Go { wait } => pause(wait).await,
            Verdict::End(_) => {
                return Err(Error::new(ErrorKind::Timeout, "no time was left to begin"));
            }
            Verdict::Fail(own) => {
                return Err(Error::new(ErrorKind::Node, "refused").with_source(own));
            }
        }
        let choice = choice(options, rules.call.idempotent);
        let mut pick = self.first_pick(&choice, plan)?;
        let mut next = None;
        loop {
            let head = plan
                .head(pick.node())
                .map_err(|error| error.with_node(pick.node().id()))?;
            let limit = self.limit(rules, attempts);
            let tried = self
                .attempt(&pick, context, attempts.number(), head, body, limit)
                .await;
            let judged = Judged::of(&tried, head.grpc);
            if judged.code < code::BAD_REQUEST {
                return self.answer(tried, pick, Outcome::SUCCESS, head, rules.deadline);
            }
            self.meter.attempt(judged.code);
            let next = next.get_or_insert_with(|| {
                let mut next = self.balancer.select(choice.clone());
                next.avoid(pick.node());
                next
            });
            let coming = next.next();
            let fresh = coming.as_ref().is_ok_and(|coming| !next.is_repeat(coming));
            let again = (body.is_whole() || tried.sent == Sent::Never).then(|| {
                let ended = judged.ended(&tried, &pick);
                attempts.after(rules, &ended, fresh, Instant::now())
            });
            let (wait, coming) = match (again, coming) {
                (Some(Verdict::Go { wait }), Ok(coming)) => (wait, coming),
                (Some(Verdict::Fail(own)), _) => {
                    let node = pick.node().id().clone();
                    pick.mark(judged.outcome);
                    let error = Error::new(ErrorKind::Node, "the retry policy ended the call");
                    return Err(error.with_node(node).with_sent(tried.sent).with_source(own));
                }
                (again, _) => {
                    let why = match again {
                        Some(Verdict::End(why)) => why,
                        _ if tried.sent == Sent::Maybe => Why::MayHaveRun,
                        _ => Why::NotRetryable,
                    };
                    let answer = self.answer(tried, pick, judged.outcome, head, rules.deadline);
                    return answer.map_err(|error| error.ended_by(why));
                }
            };
            tracing::debug!(
                service = %self.service,
                node = %pick.node().id(),
                next = %coming.node().id(),
                code = judged.code,
                attempt = attempts.started(),
                "trying another node"
            );
            pick.mark(judged.outcome);
            drop(tried);
            pause(wait).await;
            pick = self.connected(coming, plan, || next.next().ok());
        }
    }

    /// The first node of a call: one that has a connection, where there is one.
    fn first_pick(&self, choice: &Options<'_>, plan: &Plan) -> Result<Pick> {
        match self.balancer.pick(choice) {
            Ok(pick) => Ok(self.connected(pick, plan, || self.balancer.pick(choice).ok())),
            Err(none) => Err(self.nobody(none)),
        }
    }

    /// `pick`, or another one that has a connection while `pick` has none yet: that is made in the
    /// background then.
    fn connected(&self, pick: Pick, plan: &Plan, mut draw: impl FnMut() -> Option<Pick>) -> Pick {
        let version = plan.version(pick.node());
        if self.is_connected(&pick, version) {
            return pick;
        }
        for _ in 0..DRAWS {
            let Some(other) = draw() else { break };
            if self.is_connected(&other, plan.version(other.node())) {
                let node = pick.shared_node();
                if let Some(peer) = self.peer(&pick) {
                    peer.warm(&self.balancer, node, version);
                }
                return other;
            }
        }
        pick
    }

    fn is_connected(&self, pick: &Pick, version: Version) -> bool {
        self.peer(pick)
            .is_some_and(|peer| peer.pool.is_connected(version))
    }

    fn peer<'a>(&self, pick: &'a Pick) -> Option<&'a Peer> {
        let settings = &self.settings;
        Peer::of(pick.node(), &settings.connector, settings.keeping)
    }

    /// Why there is nobody to call.
    pub(crate) fn nobody(&self, none: NoneAvailable) -> Error {
        if !none.is_empty() {
            return Error::new(ErrorKind::NoneAvailable, none.to_string());
        }
        if self.followed.freshness() == Freshness::Live {
            return Error::new(ErrorKind::NotFound, none.to_string());
        }
        let error = Error::new(
            ErrorKind::Registry,
            format!(
                "no node of service `{}` is known, and the registry does not answer",
                self.service
            ),
        );
        match self.followed.error() {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }

    pub(crate) fn freshness(&self) -> Freshness {
        self.followed.freshness()
    }

    /// Why the nodes known are not the registry's present state, if they are not.
    pub(crate) fn registry_error(&self) -> Option<waypost_core::Error> {
        self.followed.error()
    }

    /// When the coming attempt must be over.
    pub(crate) fn limit(&self, rules: &RetryRules<'_>, attempts: &Attempts) -> Deadline {
        let now = Instant::now();
        let left = rules.deadline.remaining_at(now);
        let limit = rules
            .retry
            .attempt_timeout()
            .limit(left, attempts.is_last(rules));
        Deadline::after_at(limit, now).earlier(rules.deadline)
    }

    async fn attempt(
        &self,
        pick: &Pick,
        context: &Context,
        number: u32,
        head: &Head,
        body: &mut Outgoing,
        limit: Deadline,
    ) -> Tried {
        let sent = AtomicU8::new(0);
        let work = self.attempt_unbounded(pick, context, number, head, body, limit, &sent);
        let result = match timeout_at(limit.at(), work).await {
            Ok(result) => result,
            Err(_) if sent.load(Ordering::Relaxed) == 0 => Err(Error::new(
                ErrorKind::Timeout,
                "no connection was free in time",
            )),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, "no answer in time").with_sent(Sent::Maybe))
            }
        };
        let (sent, result) = match result {
            Ok(answer) => (Sent::Answered, Ok(answer)),
            Err(error) => (error.sent(), Err(error.with_node(pick.node().id()))),
        };
        Tried { result, sent }
    }

    #[expect(clippy::too_many_arguments, reason = "what one attempt is made of")]
    async fn attempt_unbounded(
        &self,
        pick: &Pick,
        context: &Context,
        number: u32,
        head: &Head,
        body: &mut Outgoing,
        limit: Deadline,
        sent: &AtomicU8,
    ) -> Result<Response<Got>> {
        let Some(peer) = self.peer(pick) else {
            return Err(Error::config("the node carries something else"));
        };
        let mut lease = peer.pool.lease(head.version).await?;
        let mut request = self.request(head, body);
        limit.write_to(request.headers_mut());
        context.write_to(request.headers_mut(), number);
        sent.store(1, Ordering::Relaxed);
        let sending = match &mut lease {
            Lease::One(owned) => match owned.sender() {
                Some(sender) => sender.try_send_request(request).await,
                None => return Err(Error::new(ErrorKind::Connect, "the connection is gone")),
            },
            Lease::Two(sender) => sender.try_send_request(request).await,
        };
        match sending {
            Ok(response) => head.reading.read(response, lease).await,
            Err(mut error) => {
                let unsent = error.take_message();
                let error = error.into_error();
                if let Some(request) = unsent {
                    body.put_back(request.into_body());
                    let text = "the connection was closed before the call was sent";
                    return Err(Error::new(ErrorKind::Connect, text).with_source(error));
                }
                let refused = is_refused(&error);
                let broken = Error::new(ErrorKind::Transport, "the connection broke");
                let sent = if refused { Sent::Never } else { Sent::Maybe };
                Err(broken.with_sent(sent).with_source(error))
            }
        }
    }

    fn request(&self, head: &Head, body: &mut Outgoing) -> Request<crate::body::Sending> {
        let mut request = Request::new(body.take(head.skip));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        let mut uri = Parts::default();
        uri.path_and_query = Some(head.path.clone());
        match head.version {
            Version::One => {
                if let Some(authority) = &head.authority {
                    let host = HeaderValue::from_str(authority.as_str());
                    let host = host.unwrap_or_else(|_| self.host.clone());
                    request.headers_mut().insert(HOST, host);
                } else if !head.headers.contains_key(HOST) {
                    request.headers_mut().insert(HOST, self.host.clone());
                }
            }
            Version::Two => {
                *request.version_mut() = http::Version::HTTP_2;
                uri.scheme = Some(Scheme::HTTP);
                let authority = head.authority.clone();
                uri.authority = Some(authority.unwrap_or_else(|| self.authority.clone()));
            }
        }
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        request
    }

    fn answer(
        &self,
        tried: Tried,
        pick: Pick,
        outcome: Outcome,
        head: &Head,
        deadline: Deadline,
    ) -> Result<Response<Answer>> {
        match tried.result {
            Ok(response) => {
                let deadline = head.whole.then_some(deadline);
                let node = NodeOf(pick.shared_node());
                let mut response = response.map(|got| match got {
                    Got::Live(body, lease) => {
                        Answer::new(body, lease, pick, outcome, head.grpc, deadline)
                    }
                    Got::Whole(bytes) => {
                        pick.mark(outcome);
                        Answer::full(bytes)
                    }
                });
                response.extensions_mut().insert(node);
                Ok(response)
            }
            Err(error) => {
                pick.mark(outcome);
                Err(error)
            }
        }
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

/// The node that an answer came from: in the extensions of every response.
#[derive(Debug, Clone)]
pub struct NodeOf(Arc<waypost_selector::Node>);

impl NodeOf {
    /// The node.
    #[must_use]
    pub fn node(&self) -> &waypost_selector::Node {
        &self.0
    }
}

/// What an attempt's end means, for the call and for the node.
pub(crate) struct Judged {
    pub(crate) code: u16,
    pub(crate) outcome: Outcome,
    pub(crate) wish: Pushback,
}

impl Judged {
    fn of(tried: &Tried, grpc: bool) -> Self {
        match &tried.result {
            Ok(response) => Self::of_head(response.status(), response.headers(), grpc),
            Err(error) => Self::of_error(error),
        }
    }

    /// The node answered, with this head.
    pub(crate) fn of_head(status: StatusCode, headers: &HeaderMap, grpc: bool) -> Self {
        let status = status.as_u16();
        let code = match grpc.then(|| grpc_code(headers)) {
            None => status,
            Some(Some(code)) => code,
            Some(None) if status == 200 => code::OK,
            Some(None) => status,
        };
        if code < code::BAD_REQUEST {
            return Self::plain(code, Outcome::SUCCESS);
        }
        Self::answered(code, Pushback::from_headers(headers))
    }

    /// There is no answer that could be handed on.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Connect => Self::plain(error.code(), Outcome::UNREACHABLE),
            ErrorKind::Node => {
                let wish = Pushback {
                    after: error.retry_after(),
                    never: error.forbids_retry(),
                };
                Self::answered(error.code(), wish)
            }
            _ => Self::plain(error.code(), Outcome::FAILURE),
        }
    }

    fn plain(code: u16, outcome: Outcome) -> Self {
        Self {
            code,
            outcome,
            wish: Pushback::default(),
        }
    }

    /// The node answered with an error: one that says what the caller did wrong is no failure of it.
    fn answered(code: u16, wish: Pushback) -> Self {
        let mut outcome = if code >= code::INTERNAL {
            Outcome::FAILURE
        } else {
            Outcome::SUCCESS
        };
        if let Some(pause) = wish.after {
            outcome = outcome.with_retry_after(pause);
        }
        Self {
            code,
            outcome,
            wish,
        }
    }

    fn ended<'a>(&self, tried: &'a Tried, pick: &'a Pick) -> Ended<'a> {
        let node = pick.node().id().as_str();
        let ended = Ended::new(self.code, tried.sent)
            .with_node(node)
            .with_pushback(self.wish);
        match &tried.result {
            Err(error) => ended.with_error(error),
            Ok(_) => ended,
        }
    }
}

/// Whether the node says that it took nothing of the request (RFC 9113, section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
            let leaving = h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR);
            return h2.is_remote() && (refused || leaving);
        }
        source = cause.source();
    }
    false
}

pub(crate) async fn pause(wait: Duration) {
    if !wait.is_zero() {
        sleep(wait).await;
    }
}

/// What the balancer is asked for.
pub(crate) fn choice(options: Option<&CallOptions>, idempotent: bool) -> Options<'_> {
    let mut choice = Options::new().with_probing(idempotent);
    if let Some(options) = options {
        choice = choice.with_filters(&options.filters);
        if let Some(strategy) = &options.strategy {
            choice = choice.with_strategy(strategy);
        }
        if let Some(key) = options.key {
            choice = choice.with_key(key);
        }
    }
    choice
}

/// Hands the balancer what the directory learns, and closes idle connections.
async fn feed(mut followed: Followed, balancer: Balancer, settings: Arc<Settings>) {
    let mut sweep = tokio::time::interval(Pool::sweep_every(settings.keeping));
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            members = followed.changed() => balancer.publish(&members),
            _ = sweep.tick() => {
                for node in balancer.nodes() {
                    if let Some(peer) = Peer::of(&node, &settings.connector, settings.keeping) {
                        peer.pool.sweep();
                    }
                }
            }
        }
    }
}

/// The name as `Host` and `:authority`; what is no host name in it becomes a hyphen.
fn authority_of(service: &ServiceName) -> (Authority, HeaderValue) {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') {
            c
        } else {
            '-'
        }
    };
    let name: String = service.as_str().chars().map(plain).collect();
    let authority = name
        .parse()
        .unwrap_or_else(|_| Authority::from_static("service"));
    let host = HeaderValue::from_str(&name).unwrap_or_else(|_| HeaderValue::from_static("service"));
    (authority, host)
}
