//! Which node gets a call, where some are not connected yet.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};
use waypost_resilience::Deadline;
use waypost_selector::Pick;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::route::Route;
use crate::version::Version;

/// How often another node is drawn when the first one drawn has no connection.
const DRAWS: usize = 3;
/// How long a node has to take a connection before another one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(30);

impl Route {
    /// `pick`, if it is connected. Else another one that is, drawn by `draw`: a node that may not
    /// be there is dialled in the background while others can take the call. Where nobody is
    /// connected, whoever is first.
    ///
    /// A call that is tied to a node draws that node each time, and waits for it.
    pub(crate) async fn connected(
        &self,
        pick: Pick,
        plan: &Plan,
        deadline: Deadline,
        draw: impl FnMut() -> Option<Pick>,
    ) -> Result<Pick> {
        if self
            .peer(&pick)?
            .pool
            .is_connected(plan.version(pick.node()))
        {
            return Ok(pick);
        }
        self.connected_soon(pick, plan, deadline, draw).await
    }

    #[cold]
    async fn connected_soon(
        &self,
        pick: Pick,
        plan: &Plan,
        deadline: Deadline,
        mut draw: impl FnMut() -> Option<Pick>,
    ) -> Result<Pick> {
        let mut rivals: Vec<Pick> = Vec::new();
        for _ in 0..DRAWS {
            let Some(other) = draw() else { break };
            if self
                .peer(&other)?
                .pool
                .is_connected(plan.version(other.node()))
            {
                self.dial(&pick, plan.version(pick.node()))?;
                return Ok(other);
            }
            let is_known = |one: &Pick| one.node().id() == other.node().id();
            if !is_known(&pick) && !rivals.iter().any(is_known) {
                rivals.push(other);
            }
        }
        self.first_of(pick, rivals, plan, deadline).await
    }

    /// The first of these to be connected, each dialled a moment after the one before.
    async fn first_of(
        &self,
        pick: Pick,
        mut rivals: Vec<Pick>,
        plan: &Plan,
        deadline: Deadline,
    ) -> Result<Pick> {
        let mut dialled = FuturesUnordered::new();
        let mut coming = Some(pick);
        let mut last = None;
        loop {
            if let Some(pick) = coming {
                let dial = self.dial(&pick, plan.version(pick.node()))?;
                dialled.push(async move { (pick, dial.done().await) });
            }
            let until = match rivals.is_empty() {
                true => deadline.at(),
                false => deadline.at().min(Instant::now() + HEAD_START),
            };
            match timeout_at(until, dialled.next()).await {
                Ok(Some((pick, Ok(())))) => return Ok(pick),
                // Tried again by the attempt, which then goes through the other nodes.
                Ok(Some((pick, Err(_)))) => last = Some(pick),
                Ok(None) => {}
                Err(_) if deadline.is_past() => {
                    let text = "no node could be connected to in time";
                    return Err(Error::new(ErrorKind::Timeout, text));
                }
                Err(_) => {}
            }
            coming = rivals.pop();
            if coming.is_none()
                && dialled.is_empty()
                && let Some(pick) = last.take()
            {
                return Ok(pick);
            }
        }
    }

    fn dial(&self, pick: &Pick, version: Version) -> Result<crate::peer::Dial> {
        let node = pick.shared_node();
        Ok(self.peer(pick)?.dial(&self.balancer, node, version))
    }

    /// Waits until the node of `pick` is connected, or cannot be.
    pub(crate) async fn reach(&self, pick: &Pick, version: Version) -> Result<()> {
        if self.peer(pick)?.pool.is_connected(version) {
            return Ok(());
        }
        self.dial(pick, version)?.done().await
    }
}
