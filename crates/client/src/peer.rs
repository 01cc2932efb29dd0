//! What a client keeps with each node: the connections to its address, and whether it can be
//! reached.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use waypost_selector::{Balancer, Node};

use crate::error::{Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::pools::Pools;
use crate::version::Version;

/// A node as a client knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pool: Arc<Pool>,
    /// The last dial of each version of HTTP.
    dials: Mutex<[Option<Dial>; 2]>,
}

/// A first connection that is being made, or what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Dial(watch::Receiver<Option<Result<()>>>);

impl Dial {
    /// Waits for what comes of it.
    pub(crate) async fn done(mut self) -> Result<()> {
        match self.0.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::new(ErrorKind::Connect, "dialling was given up")),
        }
    }

    fn is_under_way(&self) -> bool {
        self.0.borrow().is_none() && self.0.has_changed().is_ok()
    }
}

impl Peer {
    /// What is kept with `node`.
    pub(crate) fn of<'a>(node: &'a Node, pools: &Pools) -> Option<&'a Self> {
        node.extension(|| Self {
            pool: pools.of(node.address()),
            dials: Mutex::default(),
        })
    }

    /// Makes the first connection in a task of its own, one at a time, and tells the balancer what
    /// came of it: a call that has no time to wait learns nothing of a node that does not answer.
    pub(crate) fn dial(&self, balancer: &Balancer, node: Arc<Node>, version: Version) -> Dial {
        let mut dials = self.dials.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut dials[version as usize];
        if let Some(dial) = last.as_ref().filter(|dial| dial.is_under_way()) {
            return dial.clone();
        }
        let (tell, told) = watch::channel(None);
        let (pool, balancer) = (Arc::clone(&self.pool), balancer.clone());
        tokio::spawn(async move {
            let made = pool.warm(version).await;
            match &made {
                Ok(()) => balancer.reachable(&node),
                Err(error) => {
                    tracing::debug!(node = %node.id(), cause = error.chain(), "cannot be reached");
                    balancer.unreachable(&node);
                }
            }
            let _ = tell.send(Some(made));
        });
        last.insert(Dial(told)).clone()
    }
}
