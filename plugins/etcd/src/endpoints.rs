//! The endpoints of a cluster, one of which is used.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use waypost_core::{Error, Result};

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{Fault, Reach, Remedy};

/// Most operations in flight. A server refuses work once five thousand proposals wait, and what
/// waits here is not subject to the timeout of one try.
const IN_FLIGHT: usize = 256;

/// The endpoints in the order of the target, and the one that answered last.
///
/// All work goes to one endpoint until it fails to answer; then every operation tries the others,
/// each at most once, and stays with the one that answers.
#[derive(Debug)]
pub(crate) struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    current: AtomicUsize,
    permits: Semaphore,
}

impl Endpoints {
    /// Makes the clients; nothing is connected.
    pub(crate) async fn new(config: &Config) -> Result<Self> {
        let mut all = Vec::with_capacity(config.addresses.len());
        for address in &config.addresses {
            all.push(Arc::new(Endpoint::new(address, config).await?));
        }
        Ok(Self {
            all,
            current: AtomicUsize::new(0),
            permits: Semaphore::new(IN_FLIGHT),
        })
    }

    /// Does `work`, which must bear being repeated, on the first endpoint that answers.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have done it.
    pub(crate) async fn call<T, F, W>(&self, work: F) -> Result<T>
    where
        F: Fn(Arc<Endpoint>) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        Ok(self.call_noting(work).await?)
    }

    /// As [`Endpoints::call`], with what may help.
    pub(crate) async fn call_noting<T, F, W>(&self, work: F) -> Result<T, Fault>
    where
        F: Fn(Arc<Endpoint>) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        // The semaphore is never closed; without a permit the server's own limit holds.
        let _permit = self.permits.acquire().await.ok();
        let first = self.current.load(Ordering::Relaxed);
        let mut faults: Vec<Fault> = Vec::new();
        for step in 0..self.all.len() {
            let index = (first + step) % self.all.len();
            let Some(endpoint) = self.all.get(index) else {
                break;
            };
            match endpoint.attempt(|| work(Arc::clone(endpoint))).await {
                Ok(value) => {
                    self.stay_with(first, index);
                    return Ok(value);
                }
                Err(fault) if fault.remedy == Remedy::Elsewhere => faults.push(fault),
                Err(fault) => {
                    self.stay_with(first, index);
                    return Err(fault);
                }
            }
        }
        Err(all_failed(faults))
    }

    /// An answer moves everybody from the endpoint that gave none, unless they moved before.
    fn stay_with(&self, first: usize, index: usize) {
        if index != first {
            let (relaxed, current) = (Ordering::Relaxed, &self.current);
            if current
                .compare_exchange(first, index, relaxed, relaxed)
                .is_ok()
                && let (Some(from), Some(to)) = (self.all.get(first), self.all.get(index))
            {
                let (from, to) = (from.address(), to.address());
                tracing::info!(driver = "etcd", from, to, "changed the endpoint");
            }
        }
    }
}

/// One error for all endpoints, which names each.
fn all_failed(mut faults: Vec<Fault>) -> Fault {
    let Some(last) = faults.pop() else {
        return Fault {
            error: Error::config("no endpoint is configured"),
            remedy: Remedy::None,
            reach: Reach::Connected,
            closed: false,
        };
    };
    if faults.is_empty() {
        return last;
    }
    faults.push(last.clone());
    let told: Vec<String> = faults.iter().map(|fault| fault.error.to_string()).collect();
    let message = format!("no endpoint answered: {}", told.join("; "));
    Fault {
        error: Error::new(last.error.kind(), message),
        ..last
    }
}
