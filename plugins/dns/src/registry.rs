//! The registry: records that somebody else writes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};

use crate::config::{Config, PROFILE, Span};
use crate::servers::Servers;
use crate::zone::{Told, Zone};
use crate::{error, watcher};

/// A registry over the records of a domain. Cloning is cheap.
#[derive(Clone)]
pub struct DnsRegistry {
    zone: Arc<Zone>,
    span: Span,
}

impl DnsRegistry {
    /// Prepares to ask; nothing is sent before somebody reads.
    pub(crate) fn open(config: Config) -> Result<Self> {
        let servers = Servers::new(&config.servers, config.timeout)?;
        let zone = Zone {
            ask: Arc::new(servers),
            domain: config.domain,
            wanted: config.wanted,
            skipped: SkipLog::new(),
        };
        Ok(Self::over(zone, config.span))
    }

    pub(crate) fn over(zone: Zone, span: Span) -> Self {
        let zone = Arc::new(zone);
        Self { zone, span }
    }

    /// Everything within the scope, as the name servers tell it now.
    pub(crate) async fn read(&self, scope: &WatchScope) -> Result<Told> {
        match scope {
            WatchScope::All => self.zone.all().await,
            WatchScope::Service(name) => self.zone.one(name).await,
        }
    }

    /// How long what was read may be believed: the records' ttl within the options' bounds.
    ///
    /// Up to a tenth longer: the name servers' own cache ends with the ttl, and its readers need not
    /// all come at that moment.
    pub(crate) fn good_for(&self, told: &Told) -> Option<Duration> {
        let ttl = Duration::from_secs(told.ttl?.into());
        let spread = 1.0 + 0.1 * fastrand::f64();
        Some(ttl.clamp(self.span.least, self.span.most).mul_f64(spread))
    }

    /// The longest time without a reading.
    pub(crate) fn wake(&self) -> Duration {
        self.span.most
    }
}

fn named(operation: &'static str, subject: impl fmt::Display) -> impl FnOnce(Error) -> Error {
    move |error| {
        error
            .with_operation(operation, subject)
            .with_driver(PROFILE.driver)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for DnsRegistry {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.zone.skipped
    }

    async fn register(&self, instance: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>> {
        Err(named("register", instance.key())(error::read_only()))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        Err(named("deregister", key)(error::read_only()))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let told = self.zone.one(service).await;
        let told = told.map_err(named("lookup", service))?;
        Ok(told
            .instances
            .iter()
            .map(|one| Instance::clone(one))
            .collect())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let told = self.zone.all().await.map_err(named("services", ""))?;
        let mut names: Vec<_> = told
            .instances
            .iter()
            .map(|one| one.service.clone())
            .collect();
        names.dedup();
        Ok(names)
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        Ok(watcher::watch(self.clone(), scope))
    }
}

impl fmt::Debug for DnsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsRegistry")
            .field("domain", &self.zone.domain)
            .field("wanted", &self.zone.wanted)
            .finish_non_exhaustive()
    }
}
