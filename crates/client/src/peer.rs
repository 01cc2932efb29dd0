//! What a client keeps with each node: its connections, and whether it can be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use waypost_selector::{Balancer, Node};

use crate::connect::{Connector, Version};
use crate::pool::{Keeping, Pool};

/// A node as a client knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pool: Arc<Pool>,
    warming: Arc<AtomicBool>,
}

impl Peer {
    /// What is kept with `node`.
    pub(crate) fn of<'a>(
        node: &'a Node,
        connector: &Connector,
        keeping: Keeping,
    ) -> Option<&'a Self> {
        node.extension(|| Self {
            pool: Pool::new(node.address().clone(), connector.clone(), keeping),
            warming: Arc::default(),
        })
    }

    /// Makes a connection in the background, once at a time, and tells the balancer what came of
    /// it. No call waits for a node that may not be there while others are.
    pub(crate) fn warm(&self, balancer: &Balancer, node: Arc<Node>, version: Version) {
        if self.warming.swap(true, Ordering::AcqRel) {
            return;
        }
        struct Done(Arc<AtomicBool>);
        impl Drop for Done {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let done = Done(Arc::clone(&self.warming));
        let (pool, balancer) = (Arc::clone(&self.pool), balancer.clone());
        tokio::spawn(async move {
            let _done = done;
            match pool.warm(version).await {
                Ok(()) => balancer.reachable(&node),
                Err(error) => {
                    tracing::debug!(node = %node.id(), cause = error.chain(), "cannot be reached");
                    balancer.unreachable(&node);
                }
            }
        });
    }
}
