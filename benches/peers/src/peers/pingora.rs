//! pingora's load balancer: `select` with its health look-up, as a proxy calls it.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use ::pingora_load_balancing::discovery::ServiceDiscovery;
use ::pingora_load_balancing::selection::{
    BackendIter, BackendSelection, Consistent, Random, RoundRobin,
};
use ::pingora_load_balancing::{Backend, Backends, LoadBalancer};
use anyhow::{Result, anyhow};
use async_trait::async_trait;

use crate::measure::Contender;
use crate::nodes;

pub(crate) fn backend(index: usize) -> Result<Backend> {
    Backend::new_with_weight(&nodes::address(index).to_string(), 1)
        .map_err(|error| anyhow!("pingora refuses a backend: {error}"))
}

/// Hands over what was put there.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeSet<Backend>>>);

impl Told {
    pub(crate) fn put(&self, all: BTreeSet<Backend>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

#[async_trait]
impl ServiceDiscovery for Told {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((std::mem::take(&mut told), HashMap::new()))
    }
}

/// A balancer and who tells it its nodes.
pub(crate) struct Pingora<S: BackendSelection> {
    pub(crate) told: Told,
    balancer: LoadBalancer<S>,
}

impl<S> Pingora<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    pub(crate) fn new(count: usize) -> Result<Self> {
        let told = Told::default();
        told.put((0..count).map(backend).collect::<Result<_>>()?);
        let backends = Backends::new(Box::new(told.clone()));
        let balancer = LoadBalancer::from_backends(backends);
        let made = Self { told, balancer };
        made.update();
        Ok(made)
    }

    /// Takes over what was told; ready at once, since the discovery is.
    pub(crate) fn update(&self) {
        let update = pin!(self.balancer.update());
        let _ = black_box(update.poll(&mut Context::from_waker(Waker::noop())));
    }

    pub(crate) fn pick(&self, key: &[u8]) -> Option<Backend> {
        self.balancer.select(key, 256)
    }
}

fn contender<S>(name: &'static str, count: usize) -> Result<Contender>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let pingora = Pingora::<S>::new(count)?;
    pingora
        .pick(b"")
        .ok_or_else(|| anyhow!("pingora knows no node"))?;
    Ok(Contender::new(name, move |picks| {
        for number in 0..picks {
            black_box(pingora.pick(&nodes::key(number)));
        }
    }))
}

pub(super) fn contenders(count: usize) -> Result<[Contender; 3]> {
    Ok([
        contender::<RoundRobin>("pingora RoundRobin", count)?,
        contender::<Random>("pingora Random", count)?,
        contender::<Consistent>("pingora Consistent (ketama)", count)?,
    ])
}
