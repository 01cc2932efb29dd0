//! The registry: what it means to register, look up and watch.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};

use crate::calls::Rights;
use crate::config::{Config, MAX_TTL, PROFILE};
use crate::error;
use crate::feed::Hub;
use crate::http::{Agent, Agents, Since};
use crate::lease::{self, ConsulLease};
use crate::leftover::Leftovers;
use crate::owner::Claims;
use crate::record;
use crate::removal;
use crate::watcher;

/// Services that are read at once.
pub(crate) const READS_AT_ONCE: usize = 4;

/// Consul, through one of its agents.
#[derive(Debug)]
pub struct ConsulRegistry {
    shared: Arc<Shared>,
}

/// What the registry, its leases and its watchers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) agents: Arc<Agents>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) leftovers: Leftovers,
    pub(crate) skipped: SkipLog,
    /// What the names begin with that are meant by "all".
    pub(crate) only: String,
    /// Turns of those who change a record, or register without a keeper.
    pub(crate) writes: Semaphore,
    /// Blocking queries that may hold a connection of their own.
    pub(crate) seats: Semaphore,
    /// The one query that serves all the others, …
    hub: Hub,
    /// … and its like for services that do not begin with `only`.
    wide: Hub,
}

impl ConsulRegistry {
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let agents = Arc::new(Agents::open(config)?);
        let skipped = SkipLog::new();
        let shared = Shared {
            hub: Hub::new(Arc::clone(&agents), &config.only, skipped.clone()),
            wide: Hub::new(Arc::clone(&agents), "", skipped.clone()),
            agents,
            only: config.only.clone(),
            claims: Arc::new(Claims::new()),
            leftovers: Leftovers::default(),
            skipped,
            writes: Semaphore::new(PROFILE.writes_at_once.into()),
            seats: Semaphore::new(config.queries),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    /// The feed that tells of `service`, or of all.
    pub(crate) fn hub(&self, service: Option<&ServiceName>) -> &Hub {
        match service {
            Some(service) if !service.as_str().starts_with(&self.only) => &self.wide,
            _ => &self.hub,
        }
    }

    /// The live instances of a service, as `agent` has them.
    pub(crate) async fn live(&self, agent: &Agent, service: &ServiceName) -> Result<Vec<Instance>> {
        let read = agent.entries(service.as_str(), &Since::Now).await?;
        Ok(record::instances(service, read.what, &self.skipped))
    }

    /// A name found in Consul, if it is one.
    pub(crate) fn name(&self, name: &str) -> Option<ServiceName> {
        match ServiceName::foreign(name) {
            Ok(name) => Some(name),
            Err(error) => {
                self.skipped.skip(
                    PROFILE.driver,
                    format!("service {name:?}"),
                    error.to_string(),
                );
                None
            }
        }
    }

    async fn lookup(&self, agent: Agent, service: &ServiceName) -> Result<Vec<Instance>> {
        let instances = self.live(&agent, service).await?;
        if !instances.is_empty() || agent.prove(service.as_str()).await? == Rights::Unruled {
            return Ok(instances);
        }
        // The rights may have come after they were read.
        self.live(&agent, service).await
    }

    async fn services(&self, agent: Agent) -> Result<Vec<ServiceName>> {
        let live = self.live_services(&agent).await?;
        if !live.is_empty() || agent.prove(&self.only).await? == Rights::Unruled {
            return Ok(live);
        }
        // As above.
        self.live_services(&agent).await
    }

    async fn live_services(&self, agent: &Agent) -> Result<Vec<ServiceName>> {
        let names = agent.names(&self.only).await?.what;
        let names: Vec<_> = names.iter().filter_map(|name| self.name(name)).collect();
        let mut live: Vec<ServiceName> = stream::iter(names)
            .map(|name| async {
                let is_live = !self.live(agent, &name).await?.is_empty();
                Ok::<_, Error>(is_live.then_some(name))
            })
            .buffer_unordered(READS_AT_ONCE)
            .try_filter_map(|name| std::future::ready(Ok(name)))
            .try_collect()
            .await?;
        live.sort();
        Ok(live)
    }
}

fn named(operation: &'static str, subject: impl std::fmt::Display) -> impl FnOnce(Error) -> Error {
    move |error| {
        error
            .with_operation(operation, subject)
            .with_driver(PROFILE.driver)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for ConsulRegistry {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.shared.skipped
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        let named = named("register", instance.key());
        if options.ttl < PROFILE.least_ttl {
            return Err(named(error::short_ttl(options.ttl)));
        }
        let ttl = options.ttl.min(MAX_TTL);
        let shared = &self.shared;
        // Checked before anything is asked, and before a living lease loses its claim.
        let record = match record::Definition::new(instance, ttl) {
            Ok(record) => record,
            Err(error) => return Err(named(error)),
        };
        let claim = shared.claims.claim(instance.key());
        let hold = |agent| lease::hold(shared, agent, &record);
        let agent = shared.agents.any(hold).await.map_err(named)?;
        let lease = ConsulLease::new(Arc::clone(shared), agent, claim, record, ttl);
        Ok(Box::new(lease))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        removal::deregister(&self.shared, key)
            .await
            .map_err(named("deregister", key))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let shared = &self.shared;
        let ask = |agent| shared.lookup(agent, service);
        shared
            .agents
            .any(ask)
            .await
            .map_err(named("lookup", service))
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let shared = &self.shared;
        let ask = |agent| shared.services(agent);
        shared.agents.any(ask).await.map_err(named("services", ""))
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        Ok(watcher::watch(Arc::clone(&self.shared), scope))
    }
}
