//! The way to one service: who follows its nodes, and what its calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use waypost_core::{Followed, Freshness, Registry, ServiceName};
use waypost_resilience::{Attempts, CallInfo, Context, Deadline, RetryBudget, Rules as RetryRules};
use waypost_selector::{Balancer, NoneAvailable, Options, Pick};

use crate::answer::Answer;
use crate::body::Outgoing;
use crate::call::Call;
use crate::error::{Error, ErrorKind, Result};
use crate::meter::Meter;
use crate::options::CallOptions;
use crate::peer::Peer;
use crate::plan::{Plan, Reading};
use crate::pool::Pool;
use crate::pools::Pools;
use crate::settings::{Lookups, Settings};
use crate::version::Version;

/// Sweeps after which calls that can be repeated count as gone.
const RECENT: u8 = 2;
/// How often what stands still between calls is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// The way to one service.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) service: ServiceName,
    pub(crate) balancer: Balancer,
    followed: Followed,
    registry: Arc<dyn Registry>,
    pub(crate) settings: Arc<Settings>,
    pools: Arc<Pools>,
    pub(crate) budget: RetryBudget,
    pub(crate) meter: Meter,
    pub(crate) authority: Authority,
    pub(crate) host: HeaderValue,
    /// Above 0 while there are calls that can be repeated.
    repeatable: Arc<AtomicU8>,
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
    /// Whether the client's own timeout holds for the answer's body too. A deadline that the call
    /// came with always does.
    pub(crate) whole: bool,
    /// The `Host` or `:authority`, where it is not to be the service's name.
    pub(crate) authority: Option<Authority>,
    /// How much of the body's beginning is not for this node.
    pub(crate) skip: usize,
    pub(crate) reading: Reading,
}

impl Head {
    /// One whose answer is passed on as it comes.
    pub(crate) fn new(
        method: Method,
        path: PathAndQuery,
        headers: HeaderMap,
        version: Version,
    ) -> Self {
        Self {
            method,
            path,
            headers,
            version,
            grpc: version == Version::Two,
            whole: false,
            authority: None,
            skip: 0,
            reading: Reading::Passed,
        }
    }
}

impl Route {
    pub(crate) fn new(
        service: ServiceName,
        followed: Followed,
        registry: Arc<dyn Registry>,
        settings: Arc<Settings>,
        pools: Arc<Pools>,
    ) -> Result<Arc<Self>> {
        let fault = |error: waypost_core::Error| Error::config(error.to_string());
        let balancer = Balancer::new(service.clone(), settings.rules.clone()).map_err(fault)?;
        balancer.publish(&followed.members());
        let (meter, budget) = (Meter::new(&service), RetryBudget::default());
        let repeatable = Arc::<AtomicU8>::default();
        let feeder = Feeder {
            followed: followed.clone(),
            balancer: balancer.clone(),
            pools: Arc::clone(&pools),
            meter: meter.clone(),
            budget: budget.clone(),
            repeatable: Arc::clone(&repeatable),
        };
        let feeder = tokio::spawn(feeder.run(Pool::sweep_every(settings.keeping)));
        let (authority, host) = authority_of(&service);
        Ok(Arc::new(Self {
            meter,
            service,
            balancer,
            followed,
            registry,
            settings,
            pools,
            budget,
            authority,
            host,
            repeatable,
            feeder: feeder.abort_handle(),
        }))
    }

    /// Makes one call, with all its attempts.
    ///
    /// An answer with an error status that nobody retries is an answer, not an error.
    pub(crate) async fn send(
        &self,
        plan: &Plan,
        body: Outgoing,
        options: Option<&CallOptions>,
    ) -> Result<Response<Answer>> {
        self.send_since(Instant::now(), plan, body, options).await
    }

    /// [`Route::send`] of a call that began before its route was known.
    pub(crate) async fn send_since(
        &self,
        begun: Instant,
        plan: &Plan,
        body: Outgoing,
        options: Option<&CallOptions>,
    ) -> Result<Response<Answer>> {
        let head = plan.any();
        let context = Context::current();
        let timeout = options.and_then(|one| one.timeout);
        let given = timeout.map(|timeout| Deadline::after_at(timeout, begun));
        let sent = Deadline::accept_at(&head.headers, begun);
        let given = [given, context.deadline(), sent];
        let given = given.into_iter().flatten().min();
        let own = Deadline::after_at(timeout.unwrap_or(self.settings.timeout), begun);
        let deadline = own.earlier_of(given);
        if self.settings.lookups == Lookups::EachCall {
            Box::pin(self.look_up(deadline)).await;
        }
        let named = options.and_then(|one| one.endpoint.as_deref());
        let endpoint = named.unwrap_or_else(|| plan.endpoint());
        let idempotent = options
            .and_then(|one| one.idempotent)
            .unwrap_or_else(|| !head.grpc && head.method.is_idempotent());
        let info = CallInfo::new(self.service.as_str(), endpoint).with_idempotent(idempotent);
        let rules = RetryRules {
            retry: options
                .and_then(|one| one.retry.as_ref())
                .unwrap_or(&self.settings.retry),
            budget: &self.budget,
            call: &info,
            deadline,
        };
        let mut call = Call {
            route: self,
            rules,
            choice: self.choice(options, idempotent),
            context: &context,
            plan,
            body,
            attempts: Attempts::new(context.attempt()),
            is_tied: options.is_some_and(|one| one.key.is_some()),
            bound: if head.whole { Some(deadline) } else { given },
        };
        let result = call.run(begun).await;
        self.meter.call(&result, begun);
        match result {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let attempts = call.attempts.started();
                Err(error.of_call(self.service.as_str(), endpoint, attempts))
            }
        }
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

    pub(crate) fn freshness(&self) -> Freshness {
        self.followed.freshness()
    }

    /// Why the nodes known are not the registry's present state, if they are not.
    pub(crate) fn registry_error(&self) -> Option<waypost_core::Error> {
        self.followed.error()
    }

    /// What the balancer is asked for.
    pub(crate) fn choice<'a>(
        &self,
        options: Option<&'a CallOptions>,
        idempotent: bool,
    ) -> Options<'a> {
        let mut choice = Options::new().with_probing(self.may_probe(idempotent));
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

    /// Whether a call may be the one that tries an ejected node: one that can be repeated, since
    /// that costs nobody anything; any call where there are no such, else the node never returned.
    fn may_probe(&self, idempotent: bool) -> bool {
        if idempotent {
            if self.repeatable.load(Ordering::Relaxed) != RECENT {
                self.repeatable.store(RECENT, Ordering::Relaxed);
            }
            return true;
        }
        self.repeatable.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn peer<'a>(&self, pick: &'a Pick) -> Result<&'a Peer> {
        Peer::of(pick.node(), &self.pools).ok_or_else(|| {
            Error::config("somebody else keeps something with this balancer's nodes")
        })
    }

    /// Why there is nobody to call.
    pub(crate) fn nobody(&self, none: &NoneAvailable) -> Error {
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
}

impl Drop for Route {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

/// What goes on beside the calls of a service.
struct Feeder {
    followed: Followed,
    balancer: Balancer,
    pools: Arc<Pools>,
    meter: Meter,
    budget: RetryBudget,
    repeatable: Arc<AtomicU8>,
}

impl Feeder {
    /// Hands the balancer what the directory learns, closes idle connections, and measures.
    async fn run(mut self, sweep_every: Duration) {
        let every = |period| {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks
        };
        let (mut sweep, mut measure) = (every(sweep_every), every(MEASURE_EVERY));
        loop {
            tokio::select! {
                members = self.followed.changed() => self.balancer.publish(&members),
                _ = sweep.tick() => {
                    let left = self.repeatable.load(Ordering::Relaxed).saturating_sub(1);
                    self.repeatable.store(left, Ordering::Relaxed);
                    self.pools.sweep();
                }
                now = measure.tick() => {
                    self.meter.stand(self.balancer.ejected(), self.budget.remaining(now));
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
