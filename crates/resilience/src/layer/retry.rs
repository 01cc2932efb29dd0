//! Tries, as a layer over any HTTP service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use http::{Method, Request, Response};
use tokio::time::{Instant, sleep};
use tower_layer::Layer;
use tower_service::Service;

use super::BoxError;
use super::body::GRPC_STATUS;
use crate::context::write_attempt;
use crate::{
    Attempts, CallInfo, Context, Deadline, Expired, Outcome, Pushback, Retry, RetryBudget, Rules,
    Sent, Verdict, Why, code,
};

/// Says of a request, among its extensions, whether running it twice is the same as once. Without
/// it the method says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent(pub bool);

/// A call that ended without an answer.
#[derive(Debug)]
pub struct GaveUp {
    why: Why,
    tries: u32,
    source: BoxError,
}

impl GaveUp {
    /// Why there was no further try.
    #[must_use]
    pub fn why(&self) -> Why {
        self.why
    }

    /// How many tries there were.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, tries, source } = self;
        write!(f, "no answer after {tries} tries ({why}): {source}")
    }
}

impl std::error::Error for GaveUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Judges an answer by its status, gRPC's in the head included; a service's error is one after
/// which the call may have run.
pub fn classify<'a, R>(result: Result<&'a Response<R>, &'a BoxError>) -> Outcome<'a> {
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = &**error;
            return Outcome::new(code::UNAVAILABLE, Sent::Maybe).with_error(error);
        }
    };
    let status = response.status();
    let grpc = response.headers().get(GRPC_STATUS);
    let grpc = grpc.map(|status| status.to_str().ok().and_then(|text| text.parse().ok()));
    let code = match grpc {
        Some(grpc) => code::from_grpc(grpc.unwrap_or(2)),
        // What is below 400 is an answer to hand on, not a failure.
        None if status.as_u16() < 400 => code::OK,
        None => status.as_u16(),
    };
    Outcome::new(code, Sent::Answered).with_pushback(Pushback::from_headers(response.headers()))
}

/// Tries again, by a policy, within a budget, before the deadline.
///
/// Each try has what [`Retry::attempt_timeout`] says of what is left, and carries that and its
/// number. The deadline is the [`DeadlineLayer`](super::DeadlineLayer)'s further out, or the
/// [`Context`]'s. An answer is handed on as it is, with the [`Why`] among its extensions; without an
/// answer a call ends with [`GaveUp`].
#[derive(Debug, Clone)]
pub struct RetryLayer<C> {
    rules: Arc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C> {
    retry: Retry,
    budget: RetryBudget,
    nodes: u32,
    classify: C,
}

impl<C> RetryLayer<C> {
    /// Over a service of one node. `classify` says how a try ended: [`classify`] or a closure.
    pub fn new(retry: Retry, budget: RetryBudget, classify: C) -> Self {
        Self::over(retry, budget, 1, classify)
    }

    /// Over a balancer with `nodes` nodes: tries that were never sent may go to each of them.
    pub fn over(retry: Retry, budget: RetryBudget, nodes: u32, classify: C) -> Self {
        let rules = Arc::new(Shared {
            retry,
            budget,
            nodes,
            classify,
        });
        Self { rules }
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = RetryService<S, C>;

    fn layer(&self, inner: S) -> RetryService<S, C> {
        let rules = Arc::clone(&self.rules);
        RetryService { inner, rules }
    }
}

/// What [`RetryLayer`] makes.
#[derive(Debug)]
pub struct RetryService<S, C> {
    inner: S,
    rules: Arc<Shared<C>>,
}

impl<S: Clone, C> Clone for RetryService<S, C> {
    fn clone(&self) -> Self {
        let rules = Arc::clone(&self.rules);
        let inner = self.inner.clone();
        Self { inner, rules }
    }
}

impl<S, C, B, R> Service<Request<B>> for RetryService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    C: for<'a> Fn(Result<&'a Response<R>, &'a BoxError>) -> Outcome<'a> + Send + Sync + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was found ready makes the first try; its clone is for the next call.
        let clone = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.rules);
        Box::pin(async move { shared.run(service, request).await })
    }
}

impl<C> Shared<C> {
    async fn run<S, B, R>(
        &self,
        mut service: S,
        request: Request<B>,
    ) -> Result<Response<R>, BoxError>
    where
        S: Service<Request<B>, Response = Response<R>>,
        S::Error: Into<BoxError>,
        B: Clone,
        C: for<'a> Fn(Result<&'a Response<R>, &'a BoxError>) -> Outcome<'a>,
    {
        let context = Context::current();
        let outer: Option<Deadline> = request.extensions().get().copied();
        let deadline = outer.unwrap_or_else(Deadline::never);
        let host = request.uri().authority().map_or("", |host| host.as_str());
        let call = CallInfo::new(host, request.uri().path()).with_idempotent(idempotent(&request));
        let rules = Rules {
            retry: &self.retry,
            budget: &self.budget,
            call: &call,
            deadline: deadline.earlier_of(context.deadline()),
        };
        let mut attempts = Attempts::new(context.attempt());
        let mut verdict = attempts.first(&rules, Instant::now());
        let mut last: Option<Result<Response<R>, BoxError>> = None;
        loop {
            let why = match verdict {
                Verdict::Fail(error) => return Err(error),
                Verdict::End(why) => why,
                Verdict::Go { wait } => {
                    if !wait.is_zero() {
                        sleep(wait).await;
                    }
                    match begin(&rules, attempts) {
                        Some(limit) => {
                            let again = prepare(&request, limit, attempts);
                            let (result, outcome_of_late) = tried(&mut service, again, limit).await;
                            let fresh = attempts.started() < self.nodes;
                            let outcome =
                                outcome_of_late.unwrap_or_else(|| (self.classify)(result.as_ref()));
                            verdict = attempts.after(&rules, &outcome, fresh, Instant::now());
                            last = Some(result);
                            continue;
                        }
                        None => Why::Deadline,
                    }
                }
            };
            return end(last, why, attempts.started());
        }
    }
}

/// Until when the coming try may take, unless there is too little left to start it.
fn begin(rules: &Rules<'_>, attempts: Attempts) -> Option<Deadline> {
    let now = Instant::now();
    let left = rules.deadline.remaining_at(now);
    if left < Deadline::LEAST {
        return None;
    }
    let limit = rules
        .retry
        .attempt_timeout()
        .limit(left, attempts.is_last(rules));
    Some(Deadline::after_at(limit, now))
}

fn prepare<B: Clone>(request: &Request<B>, limit: Deadline, attempts: Attempts) -> Request<B> {
    let mut request = request.clone();
    limit.write_to(request.headers_mut());
    write_attempt(request.headers_mut(), attempts.number());
    request.extensions_mut().insert(limit);
    request
}

/// One try; of one that was late, how it ended.
async fn tried<S, B, R>(
    service: &mut S,
    request: Request<B>,
    limit: Deadline,
) -> (Result<Response<R>, BoxError>, Option<Outcome<'static>>)
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let mut is_sent = false;
    let work = async {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
        is_sent = true;
        service.call(request).await
    };
    match limit.bound(work).await {
        Ok(result) => (result.map_err(Into::into), None),
        Err(Expired) => {
            let sent = if is_sent { Sent::Maybe } else { Sent::Never };
            let late = Outcome::new(code::TIMEOUT, sent);
            (Err(Expired.into()), Some(late))
        }
    }
}

fn end<R>(
    last: Option<Result<Response<R>, BoxError>>,
    why: Why,
    tries: u32,
) -> Result<Response<R>, BoxError> {
    let source = match last {
        Some(Ok(mut response)) => {
            response.extensions_mut().insert(why);
            return Ok(response);
        }
        Some(Err(error)) => error,
        None => Expired.into(),
    };
    Err(Box::new(GaveUp { why, tries, source }))
}

/// RFC 9110 §9.2.2.
fn idempotent<B>(request: &Request<B>) -> bool {
    let said = request.extensions().get::<Idempotent>();
    let by_method = || {
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::TRACE,
        ];
        methods.contains(request.method())
    };
    said.map_or_else(by_method, |said| said.0)
}
