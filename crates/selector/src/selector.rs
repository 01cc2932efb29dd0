//! All services of a process, by name: go-micro's selector.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use waypost_core::{Members, NodeId, Result, ServiceName};

use crate::balancer::Balancer;
use crate::next::Next;
use crate::options::{NoneAvailable, Options};
use crate::pick::Outcome;
use crate::rules::Rules;

/// Balancers by service name. Clones share everything.
///
/// Who calls one service often keeps its [`Balancer`] and saves looking it up.
#[derive(Debug, Clone)]
pub struct Selector {
    rules: Rules,
    balancers: Arc<RwLock<HashMap<ServiceName, Balancer>>>,
}

impl Selector {
    /// A selector whose balancers go by `rules`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the rule that makes no sense.
    pub fn new(rules: Rules) -> Result<Self> {
        rules.check()?;
        Ok(Self {
            rules,
            balancers: Arc::default(),
        })
    }

    /// Takes over what a directory knows of `service`.
    ///
    /// # Errors
    /// None but a fault of the rules, which [`Selector::new`] has checked.
    pub fn publish(&self, service: &ServiceName, members: &Members) -> Result<()> {
        self.balancer(service)?.publish(members);
        Ok(())
    }

    /// The balancer of `service`; made, without nodes, if there is none.
    ///
    /// # Errors
    /// As [`Selector::publish`].
    pub fn balancer(&self, service: &ServiceName) -> Result<Balancer> {
        if let Some(known) = self.known(service) {
            return Ok(known);
        }
        let made = Balancer::new(service.clone(), self.rules.clone())?;
        let mut balancers = self
            .balancers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(balancers.entry(service.clone()).or_insert(made).clone())
    }

    fn known(&self, service: &ServiceName) -> Option<Balancer> {
        let balancers = self
            .balancers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        balancers.get(service).cloned()
    }

    /// The nodes for one call's attempts.
    ///
    /// # Errors
    /// [`NoneAvailable`] when nothing was published for `service`.
    pub fn select<'a>(
        &self,
        service: &ServiceName,
        options: Options<'a>,
    ) -> Result<Next<'a>, NoneAvailable> {
        let known = self.known(service);
        let balancer = known.ok_or_else(|| NoneAvailable::unknown(service.clone()))?;
        Ok(balancer.select(options))
    }

    /// Tells what became of a call.
    pub fn mark(&self, service: &ServiceName, node: &NodeId, outcome: Outcome) {
        if let Some(balancer) = self.known(service) {
            balancer.mark(node, outcome);
        }
    }

    /// Forgets everything that was said against the nodes of `service`.
    pub fn reset(&self, service: &ServiceName) {
        if let Some(balancer) = self.known(service) {
            balancer.reset();
        }
    }

    /// Forgets `service`.
    pub fn forget(&self, service: &ServiceName) {
        let mut balancers = self
            .balancers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        balancers.remove(service);
    }
}
