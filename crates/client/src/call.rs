//! One call through all its attempts.

use std::time::Duration;

use http::Response;
use tokio::time::{Instant, sleep};
use waypost_resilience::{Attempts, Context, Deadline, Rules as RetryRules, Sent, Verdict, Why};
use waypost_selector::{Next, NoneAvailable, Options, Pick};

use crate::answer::Answer;
use crate::attempt::Tried;
use crate::body::Outgoing;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::route::Route;

/// One call.
pub(crate) struct Call<'a> {
    pub(crate) route: &'a Route,
    pub(crate) rules: RetryRules<'a>,
    pub(crate) choice: Options<'a>,
    pub(crate) context: &'a Context,
    pub(crate) plan: &'a Plan,
    pub(crate) body: Outgoing,
    pub(crate) attempts: Attempts,
    /// Whether a key ties it to a node or a version, which it waits for.
    pub(crate) is_tied: bool,
    /// What holds for the answer's body.
    pub(crate) bound: Option<Deadline>,
}

impl<'a> Call<'a> {
    pub(crate) async fn run(&mut self, begun: Instant) -> Result<Response<Answer>> {
        match self.attempts.first(&self.rules, begun) {
            Verdict::Go { wait } => pause(wait).await,
            Verdict::End(_) => {
                return Err(Error::new(ErrorKind::Timeout, "no time was left to begin"));
            }
            Verdict::Fail(own) => {
                return Err(Error::new(ErrorKind::Node, "refused").with_source(own));
            }
        }
        let pick = self.first_pick().await?;
        match self.attempt(pick, begun).await {
            Ok(answer) => Ok(answer),
            Err(tried) => Box::pin(self.repeat(tried)).await,
        }
    }

    /// Goes on where the first attempt did not succeed.
    #[cold]
    async fn repeat(&mut self, mut tried: Box<Tried>) -> Result<Response<Answer>> {
        let mut next = self.route.balancer.select(self.choice.clone());
        next.avoid(&tried.node);
        loop {
            self.route.meter.attempt(tried.code);
            let (wait, coming) = match self.judge(&tried, &mut next) {
                Ok(again) => again,
                Err(Ended::By(why)) => {
                    let answer = self.end(*tried);
                    return answer.map_err(|error| error.ended_by(why));
                }
                Err(Ended::With(own)) => {
                    let error = Error::new(ErrorKind::Node, "the retry policy ended the call");
                    let error = error.with_node(tried.node.id()).with_sent(tried.sent);
                    tried.discard();
                    return Err(error.with_source(own));
                }
            };
            tracing::debug!(
                service = %self.route.service,
                node = %tried.node.id(),
                next = %coming.node().id(),
                code = tried.code,
                attempt = self.attempts.started(),
                "trying another node"
            );
            tried.discard();
            pause(wait).await;
            let draw = || next.next().ok();
            let pick = self
                .route
                .connected(coming, self.plan, self.rules.deadline, draw)
                .await?;
            match self.attempt(pick, Instant::now()).await {
                Ok(answer) => return Ok(answer),
                Err(again) => tried = again,
            }
        }
    }

    /// Whether there is another attempt, after which wait, and on which node.
    fn judge(&mut self, tried: &Tried, next: &mut Next<'_>) -> Result<(Duration, Pick), Ended> {
        if tried.is_callers_fault() {
            return Err(Ended::By(Why::NotRetryable));
        }
        let coming = next.next();
        let fresh = coming.as_ref().is_ok_and(|coming| !next.is_repeat(coming));
        // A stream that an attempt took cannot be sent again.
        if !self.body.is_there() {
            return Err(Ended::By(match tried.sent {
                Sent::Maybe => Why::MayHaveRun,
                _ => Why::NotRetryable,
            }));
        }
        let outcome = tried.as_outcome();
        match self
            .attempts
            .after(&self.rules, &outcome, fresh, Instant::now())
        {
            Verdict::Go { wait } => match coming {
                Ok(coming) => Ok((wait, coming)),
                Err(_) => Err(Ended::By(Why::Exhausted)),
            },
            Verdict::End(why) => Err(Ended::By(why)),
            Verdict::Fail(own) => Err(Ended::With(own)),
        }
    }

    /// The first node of a call: one that has a connection, where there is one.
    async fn first_pick(&mut self) -> Result<Pick> {
        let route = self.route;
        let nobody = |none: NoneAvailable| route.nobody(&none);
        let pick = route.balancer.pick(&self.choice).map_err(nobody)?;
        let version = self.plan.version(pick.node());
        if route.peer(&pick)?.pool.is_connected(version) {
            return Ok(pick);
        }
        Box::pin(self.connected_pick(pick)).await
    }

    /// `pick` once it has a connection, or another node that has one before.
    #[cold]
    async fn connected_pick(&mut self, pick: Pick) -> Result<Pick> {
        let (route, plan, deadline) = (self.route, self.plan, self.rules.deadline);
        let choice = self.choice.clone().with_probing(false);
        if self.is_tied {
            let same = || route.balancer.pick(&choice).ok();
            return route.connected(pick, plan, deadline, same).await;
        }
        let mut next = route.balancer.select(choice);
        next.avoid(pick.node());
        let others = || next.next().ok();
        route.connected(pick, plan, deadline, others).await
    }
}

/// Why a call ends with what its last attempt ended with, or with the policy's own error.
enum Ended {
    By(Why),
    With(crate::BoxError),
}

pub(crate) async fn pause(wait: Duration) {
    if !wait.is_zero() {
        Box::pin(sleep(wait)).await;
    }
}
