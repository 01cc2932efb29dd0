//! The order of a service's life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use waypost_core::{Address, Error, ErrorKind, Result};

use crate::admin::{AdminListener, Shown};
use crate::board::{Board, Phase, View};
use crate::counters::Counters;
use crate::front::Front;
use crate::listen::{self, Listener};
use crate::observe::Observe;
use crate::owned::Owned;
use crate::panics::CatchPanics;
use crate::plan::{Ends, Plan};
use crate::presence::Keeper;
use crate::running::Facts;
use crate::signals;

/// How long the start waits for the registry before it goes on without.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the service's own address may take to answer.
const DIAL: Duration = Duration::from_secs(2);
/// The least time that callers are given to learn that the record is gone.
const LEAST_PROPAGATION: Duration = Duration::from_secs(1);

/// Lives a whole life; tells when the service is up.
///
/// # Errors
/// Why it could not start, or the last failure of a stop hook.
pub(crate) async fn live(plan: Plan, tell: oneshot::Sender<Facts>) -> Result<()> {
    let ends = plan.ends.clone();
    let _signals = match plan.builder.signals {
        true => Some(signals::pass_on(ends.signals.clone())?),
        false => None,
    };
    // Nothing is registered yet: what has begun is dropped.
    let up = tokio::select! {
        up = Up::rise(plan) => up?,
        () = ends.asked() => return Ok(()),
    };
    let service = up.plan.name.clone();
    tokio::select! {
        result = up.stay(tell, &ends) => result,
        () = ends.asked_now() => {
            tracing::warn!(%service, "leaves at once; nothing is drained");
            Ok(())
        }
    }
}

/// A service that listens.
#[derive(Debug)]
struct Up {
    plan: Plan,
    facts: Facts,
    counters: Arc<Counters>,
    listener: Listener,
    tasks: Vec<Owned>,
    /// Both end when they are dropped, the pages before their listener.
    _shown: Option<Shown>,
    _admin: Option<AdminListener>,
}

impl Up {
    /// Binds, serves, and dials its own address.
    async fn rise(mut plan: Plan) -> Result<Self> {
        let before = std::mem::take(&mut plan.builder.before_start);
        before.run("before_start", &plan.name).await?;
        #[cfg(feature = "prometheus")]
        let upkeep = plan.builder.prometheus.then(upkeep).transpose()?;

        let named = |error: Error| error.with_operation("service", &plan.name);
        let (listener, bound) = listen::bind(&plan.builder.listen).await.map_err(named)?;
        let advertise = plan.builder.advertise.clone();
        let advertised = advertise
            .address(bound, plan.registry.profile())
            .await
            .map_err(named)?;

        let board = Board::new(plan.builder.checks.iter().map(|check| check.name.clone()));
        let counters = Arc::new(Counters::new(plan.name.as_str()));
        let (front, mut tasks) = front(&mut plan, &board, &counters);
        #[cfg(feature = "prometheus")]
        tasks.extend(upkeep);
        let listener = Listener::serve(listener, front);
        let (admin, shown) = admin(&plan, &board, &counters).await?;
        let admin_address = plan.builder.admin.as_ref().and_then(crate::Admin::address);
        let announced = admin_address.and_then(|admin| announced(admin, &advertised));
        if plan.builder.dial_check {
            listen::dial(advertised.as_str(), DIAL)
                .await
                .map_err(|error| error.with_operation("service", &plan.name))?;
        }
        for (at, check) in plan.builder.checks.drain(..).enumerate() {
            tasks.push(Owned::spawn(check.run(at, board.clone())));
        }
        let instance = plan.instance(advertised, announced.as_deref());
        Ok(Self {
            facts: Facts {
                bound,
                admin: admin_address,
                instance,
                board,
            },
            plan,
            counters,
            listener,
            tasks,
            _shown: shown,
            _admin: admin,
        })
    }

    /// Registers, stays until it is asked to stop, and leaves.
    async fn stay(mut self, tell: oneshot::Sender<Facts>, ends: &Ends) -> Result<()> {
        let keeper = tokio::spawn(
            Keeper {
                registry: Arc::clone(&self.plan.registry),
                instance: self.facts.instance.clone(),
                options: self.plan.options.clone(),
                board: self.facts.board.clone(),
            }
            .run(),
        );
        let _owned = Owned::of(&keeper);
        let joined = tokio::select! {
            joined = self.join() => joined,
            () = ends.asked() => Ok(()),
        };
        if joined.is_ok() {
            tell_up(&self.facts);
            // Nobody listens where the program runs the service to its end.
            let _ = tell.send(self.facts.clone());
            ends.asked().await;
        }
        let left = self.leave(keeper).await;
        joined.and(left)
    }

    /// Lets the record be written, and waits until it is found.
    async fn join(&mut self) -> Result<()> {
        let board = &self.facts.board;
        board.enter(Phase::Serving);
        let limit = self.plan.builder.require;
        let ready = timeout(limit.unwrap_or(PATIENCE), board.until(View::is_ready)).await;
        if ready.is_err() {
            let lines = board.view().lines().trim_end().replace('\n', ", ");
            if let Some(limit) = limit {
                let text = format!("is not registered within {limit:?}: {lines}");
                let error = Error::new(ErrorKind::Unavailable, text);
                return Err(error.with_operation("service", &self.plan.name));
            }
            tracing::warn!(service = %self.plan.name, state = lines, "up, but not registered yet");
        }
        let after = std::mem::take(&mut self.plan.builder.after_start);
        after.run("after_start", &self.plan.name).await
    }

    /// Deregisters, lets callers learn of it, drains and ends.
    async fn leave(self, keeper: JoinHandle<Result<()>>) -> Result<()> {
        let (name, builder) = (&self.plan.name, self.plan.builder);
        let board = &self.facts.board;
        board.enter(Phase::Stopping);
        let before = builder.before_stop.run_all("before_stop", name).await;

        board.enter(Phase::Leaving);
        if let Ok(Err(error)) = keeper.await {
            tracing::warn!(service = %name, error = error.chain(), "could not deregister");
        }
        self.counters.leaving.store(true, Relaxed);
        let presence = board.view().presence;
        if let Some(removed) = presence.removed {
            let measured = (presence.propagation * 2).max(LEAST_PROPAGATION);
            let wait = builder.propagation.unwrap_or(measured);
            sleep(wait.saturating_sub(removed.elapsed())).await;
        }

        board.enter(Phase::Closing);
        tracing::info!(service = %name, "closes its listener");
        let cut = self.listener.close(builder.drain).await;
        if cut > 0 {
            tracing::warn!(service = %name, connections = cut, "cut what did not end in time");
        }
        drop(self.tasks);
        let after = builder.after_stop.run_all("after_stop", name).await;
        tracing::info!(service = %name, "has left");
        after.and(before)
    }
}

fn tell_up(facts: &Facts) {
    let instance = &facts.instance;
    tracing::info!(
        service = %instance.service,
        node = %instance.node.id,
        address = %instance.node.address,
        listens = %facts.bound,
        admin = facts.admin.map(tracing::field::display),
        "up"
    );
}

/// The front of the service's port, and the tasks that go with it.
fn front(plan: &mut Plan, board: &Board, counters: &Arc<Counters>) -> (Front, Vec<Owned>) {
    let expiry = plan.expiry.clone();
    let layered = |router: axum::Router| {
        router
            .layer(expiry.clone())
            .layer(CatchPanics(Arc::clone(counters)))
            .layer(Observe(Arc::clone(counters)))
    };
    #[cfg_attr(
        not(feature = "tonic"),
        expect(unused_mut, reason = "one task is gRPC's")
    )]
    let mut tasks = Vec::new();
    #[cfg(feature = "tonic")]
    let grpc = {
        let services = std::mem::take(&mut plan.builder.grpc);
        (!services.is_empty()).then(|| {
            let (mut routed, reporter) = services.routed();
            if let Some(reporter) = reporter {
                let names = Arc::clone(&routed.names);
                let report = crate::grpc::report(reporter, names, board.clone());
                tasks.push(Owned::spawn(report));
            }
            routed.router = layered(routed.router);
            routed
        })
    };
    let front = Front {
        counters: Arc::clone(counters),
        http: plan.builder.http.take().map(layered),
        #[cfg(feature = "tonic")]
        grpc,
        probes: plan.builder.probes.then(|| board.clone()),
    };
    (front, tasks)
}

/// The admin listener, unless another part of the program has opened it.
async fn admin(
    plan: &Plan,
    board: &Board,
    counters: &Arc<Counters>,
) -> Result<(Option<AdminListener>, Option<Shown>)> {
    let Some(admin) = &plan.builder.admin else {
        return Ok((None, None));
    };
    let listener = match admin.address() {
        Some(_) => None,
        None => Some(admin.listen(&plan.builder.admin_address).await?),
    };
    let shown = admin.show(board.clone(), Arc::clone(counters));
    Ok((listener, Some(shown)))
}

/// The admin listener's address as others write it: on every interface, by the node's own host.
fn announced(admin: SocketAddr, advertised: &Address) -> Option<String> {
    if admin.ip().is_unspecified() {
        return Some(waypost_core::host_port(advertised.host(), admin.port()));
    }
    Some(admin.to_string())
}

/// Records metrics, and folds what was recorded now and then.
#[cfg(feature = "prometheus")]
fn upkeep() -> Result<Owned> {
    let prometheus = crate::Prometheus::install()?;
    Ok(Owned::spawn(async move {
        let mut ticks = tokio::time::interval(crate::prometheus::UPKEEP);
        loop {
            ticks.tick().await;
            prometheus.keep_up();
        }
    }))
}
