//! Somebody who changes a record as fast as it goes: how long nothing can be written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use waypost_core::{
    Address, Instance, Lease, Node, NodeId, RegisterOptions, Registry, Result, ServiceName,
};

use crate::history::History;

/// The time between two writes.
const PAUSE: Duration = Duration::from_millis(20);
/// A gap that is worth a line of the timeline.
const LONG: Duration = Duration::from_millis(500);

/// Writes a record of a service of its own, again and again.
#[derive(Debug)]
pub struct Writes {
    account: Arc<Mutex<Account>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Account {
    written: usize,
    last: Option<Instant>,
    gap: Duration,
}

impl Writes {
    /// Begins to write.
    #[must_use]
    pub fn start(
        registry: Arc<dyn Registry>,
        service: ServiceName,
        ttl: Duration,
        history: History,
    ) -> Self {
        let account = Arc::default();
        let writing = write(registry, service, ttl, Arc::clone(&account), history);
        Self {
            account,
            task: tokio::spawn(writing).abort_handle(),
        }
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn written(&self) -> usize {
        self.lock().written
    }

    /// The longest time from one write that was acknowledged to the next, the one that lasts
    /// included.
    #[must_use]
    pub fn gap(&self) -> Duration {
        let account = self.lock();
        let since_last = account.last.map(|last| last.elapsed()).unwrap_or_default();
        account.gap.max(since_last)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(
    registry: Arc<dyn Registry>,
    service: ServiceName,
    ttl: Duration,
    account: Arc<Mutex<Account>>,
    history: History,
) {
    let mut lease = None;
    for round in 0_u64.. {
        match once(&*registry, &service, ttl, &mut lease, round).await {
            Ok(()) => {
                let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                let gap = account.last.map(|last| now - last).unwrap_or_default();
                if gap > LONG {
                    history.note("writer", format!("writes again after {gap:.2?}"));
                }
                account.gap = account.gap.max(gap);
                account.last = Some(now);
                account.written += 1;
            }
            Err(error) => {
                history.note("writer", error.chain());
                // A record that is lost or in doubt is registered anew.
                lease = None;
            }
        }
        sleep(PAUSE).await;
    }
}

async fn once(
    registry: &dyn Registry,
    service: &ServiceName,
    ttl: Duration,
    lease: &mut Option<Box<dyn Lease>>,
    round: u64,
) -> Result<()> {
    let node = Node::new(NodeId::new("writer")?, Address::new("127.0.0.1:23000")?);
    let node = node.with_metadata("round", round.to_string());
    let instance = Instance::new(service.clone(), node);
    match lease {
        Some(lease) => lease.update(&instance).await,
        None => {
            let registered = registry
                .register(&instance, RegisterOptions::new(ttl))
                .await?;
            *lease = Some(registered);
            Ok(())
        }
    }
}
