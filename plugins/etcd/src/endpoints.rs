//! The endpoints of a cluster, one of which is used.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use waypost_core::{Error, ErrorKind, Result};

use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{Fault, Reach, Remedy};

/// Most operations in flight. A server refuses work once five thousand proposals wait, and what
/// waits here is not subject to the timeout of one try.
const IN_FLIGHT: usize = 256;

/// The endpoints in the order of the target, and the one that answered last.
///
/// All work goes to one endpoint until it fails to answer; then every operation tries the others,
/// each at most once, and stays with the one that answers. One that was silent is left at once.
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
        let mut current = first;
        let mut faults: Vec<Fault> = Vec::new();
        for step in 0..self.all.len() {
            let index = (first + step) % self.all.len();
            let Some(endpoint) = self.all.get(index) else {
                break;
            };
            match endpoint.attempt(|| work(Arc::clone(endpoint))).await {
                Ok(value) => {
                    self.change(current, index);
                    return Ok(value);
                }
                Err(fault) if fault.remedy == Remedy::Elsewhere => {
                    let next = (index + 1) % self.all.len();
                    // Others need not wait for it as long as this one did, even if this one's time
                    // is up before another endpoint answers.
                    if is_silent(&fault) && index == current && self.change(current, next) {
                        current = next;
                    }
                    faults.push(fault);
                }
                Err(fault) => {
                    self.change(current, index);
                    return Err(fault);
                }
            }
        }
        Err(all_failed(faults))
    }

    /// Moves everybody from one endpoint to another, unless they moved before.
    fn change(&self, from: usize, to: usize) -> bool {
        let relaxed = Ordering::Relaxed;
        let changed = from != to
            && self
                .current
                .compare_exchange(from, to, relaxed, relaxed)
                .is_ok();
        if changed && let (Some(from), Some(to)) = (self.all.get(from), self.all.get(to)) {
            let (from, to) = (from.address(), to.address());
            tracing::info!(driver = "etcd", from, to, "changed the endpoint");
        }
        changed
    }
}

/// Whether the endpoint took the request and did not answer in time.
fn is_silent(fault: &Fault) -> bool {
    fault.error.kind() == ErrorKind::Timeout
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

#[cfg(test)]
mod tests {
    use waypost_core::{Origin, Target};

    use super::*;

    async fn endpoints(count: usize) -> Endpoints {
        let addresses: Vec<String> = (1..=count)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let url = format!("etcd://{}", addresses.join(","));
        let target = Target::parse(&url, None, Origin::Code).expect("target");
        let config = Config::read(&target).expect("config");
        Endpoints::new(&config).await.expect("endpoints")
    }

    /// What the first try of a call is made at.
    async fn asked_first(endpoints: &Endpoints) -> String {
        let work = |endpoint: Arc<Endpoint>| async move { Ok(endpoint.address().to_owned()) };
        endpoints.call(work).await.expect("an address")
    }

    fn told(text: &str) -> etcd_client::Error {
        etcd_client::Error::WatchError(text.to_owned())
    }

    #[tokio::test]
    async fn a_silent_endpoint_is_left_before_another_answers() {
        let endpoints = endpoints(3).await;
        let work = |endpoint: Arc<Endpoint>| async move {
            if endpoint.address().ends_with(":1") {
                return Err(told("etcdserver: request timed out"));
            }
            std::future::pending::<Result<(), _>>().await
        };
        let mut call = Box::pin(endpoints.call(work));
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        assert_eq!(asked_first(&endpoints).await, "127.0.0.1:2");
    }

    #[tokio::test]
    async fn an_endpoint_that_refuses_is_left_when_another_answers() {
        let endpoints = endpoints(3).await;
        let work = |endpoint: Arc<Endpoint>| async move {
            match endpoint.address() {
                "127.0.0.1:1" => Err(told("etcdserver: request timed out")),
                "127.0.0.1:2" => Err(told("etcdserver: no leader")),
                _ => Ok(()),
            }
        };
        endpoints.call(work).await.expect("the third");
        assert_eq!(asked_first(&endpoints).await, "127.0.0.1:3");
    }
}
