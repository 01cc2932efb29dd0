//! A service that has been started.

use std::net::SocketAddr;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waypost_core::{Error, ErrorKind, Instance, Result};

use crate::board::{Board, View};
use crate::life;
use crate::owned::Owned;
use crate::plan::Plan;
use crate::stop::Stop;

/// What a service that is up can tell.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) bound: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) instance: Instance,
    pub(crate) board: Board,
}

/// A service that has been started and serves.
///
/// Dropping it ends the service at once, as a crash would: connections are cut, and the record goes
/// with its ttl. Use [`Running::stop`] or [`Running::wait`].
#[derive(Debug)]
#[must_use = "a service ends when its handle is dropped"]
pub struct Running {
    facts: Facts,
    stop: Stop,
    task: JoinHandle<Result<()>>,
    _owned: Owned,
}

impl Running {
    pub(crate) async fn start(plan: Plan) -> Result<Self> {
        let (tell, told) = oneshot::channel();
        let stop = plan.ends.code.clone();
        let task = tokio::spawn(life::live(plan, tell));
        let owned = Owned::of(&task);
        match told.await {
            Ok(facts) => Ok(Self {
                facts,
                stop,
                task,
                _owned: owned,
            }),
            Err(_) => Err(match joined(task).await {
                Err(error) => error,
                Ok(()) => Error::new(
                    ErrorKind::Closed,
                    "the service was stopped before it was up",
                ),
            }),
        }
    }

    pub(crate) async fn run(plan: Plan) -> Result<()> {
        let (tell, _told) = oneshot::channel();
        let task = tokio::spawn(life::live(plan, tell));
        let _owned = Owned::of(&task);
        joined(task).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.facts.bound
    }

    /// Where its admin listener answers, if it has one.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.facts.admin
    }

    /// What is registered of it.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.facts.instance
    }

    /// Whether it serves, is well, and is found by its name.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.facts.board.view().is_ready()
    }

    /// Waits until it is ready.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) {
        self.facts.board.until(View::is_ready).await;
    }

    /// What asks it to stop; see [`ServiceBuilder::stop_with`](crate::ServiceBuilder::stop_with).
    #[must_use]
    pub fn stopper(&self) -> Stop {
        self.stop.clone()
    }

    /// Waits until it has left.
    ///
    /// # Errors
    /// The last failure of a stop hook.
    ///
    /// # Cancel safety
    /// Dropping the future drops the service.
    pub async fn wait(self) -> Result<()> {
        joined(self.task).await
    }

    /// Asks it to deregister and to drain, and waits until it has left.
    ///
    /// # Errors
    /// The last failure of a stop hook.
    ///
    /// # Cancel safety
    /// Dropping the future drops the service.
    pub async fn stop(self) -> Result<()> {
        self.stop.stop();
        self.wait().await
    }
}

async fn joined(task: JoinHandle<Result<()>>) -> Result<()> {
    task.await.unwrap_or_else(|error| {
        let text = "the service's own task ended";
        Err(Error::new(ErrorKind::Internal, text).with_source(error))
    })
}
