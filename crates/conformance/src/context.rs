//! What a case gets: a subject and a namespace.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::{
    Address, Instance, Lease, Node, NodeId, Profile, RegisterOptions, Registry, ServiceName,
};

use crate::check::{Check, Stop, done};
use crate::kept::Kept;
use crate::{Cut, Subject};

/// The ttl of cases that wait for its end, where the registry takes one as short.
const TTL: Duration = Duration::from_secs(2);

/// The ttl of all other records: no stall of a loaded machine outlasts it.
const PATIENT: Duration = Duration::from_secs(30);

/// What a loaded machine may add to every bound.
pub(crate) const MARGIN: Duration = Duration::from_secs(3);

/// The subject and the namespace of one run of one case.
#[derive(Clone)]
pub struct Context {
    subject: Arc<dyn Subject>,
    namespace: String,
}

impl Context {
    /// A context in a random namespace.
    #[must_use]
    pub fn new(subject: Arc<dyn Subject>) -> Self {
        let random: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(12)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        Self {
            subject,
            namespace: format!("conformance-{random}"),
        }
    }

    /// The backend under test.
    #[must_use]
    pub fn subject(&self) -> &dyn Subject {
        &*self.subject
    }

    /// The namespace of this run.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn profile(&self) -> Profile {
        self.subject.profile()
    }

    /// The ttl to ask for when its end is waited for.
    pub(crate) fn ttl(&self) -> Duration {
        self.profile().least_ttl.max(TTL)
    }

    /// Options with [`Context::ttl`].
    pub(crate) fn brief(&self) -> RegisterOptions {
        RegisterOptions::new(self.ttl())
    }

    /// Options with a ttl that does not end within the case.
    pub(crate) fn patient(&self) -> RegisterOptions {
        RegisterOptions::new(self.ttl().max(PATIENT))
    }

    /// Until when the record of a dead owner must be gone.
    pub(crate) fn gone_within(&self, granted: Duration) -> Duration {
        granted + self.profile().slack + MARGIN
    }

    /// Until when a watcher must have told of a change.
    pub(crate) fn told_within(&self) -> Duration {
        let slow = if self.profile().native_watch { 0 } else { 5 };
        Duration::from_secs(2 + slow) + MARGIN
    }

    /// Until when an operation must have failed once the backend is dead. The deadline of single
    /// operations is the house's, so a registry that hangs is only not believed.
    pub(crate) fn fails_within(&self) -> Duration {
        MARGIN
    }

    /// Another namespace of the same subject.
    pub(crate) fn elsewhere(&self) -> Self {
        Self::new(Arc::clone(&self.subject))
    }

    pub(crate) async fn open(&self) -> Check<Arc<dyn Registry>> {
        Ok(self.subject.open(&self.namespace).await?)
    }

    /// Ignores the case where records cannot be written.
    pub(crate) fn needs_writing(&self) -> Check {
        if self.profile().writable {
            return Ok(());
        }
        Err(Stop::Ignored("profile: writable = false".to_owned()))
    }

    /// Ignores the case where a record has no name but its key.
    pub(crate) fn needs_names(&self) -> Check {
        if self.profile().names_itself {
            return Ok(());
        }
        Err(Stop::Ignored("profile: names_itself = false".to_owned()))
    }

    /// Ignores the case where a change of several parts is several changes.
    pub(crate) fn needs_one_step(&self) -> Check {
        if self.profile().one_step {
            return Ok(());
        }
        Err(Stop::Ignored("profile: one_step = false".to_owned()))
    }

    pub(crate) async fn plant(&self, service: &str, node: &str, bytes: &[u8]) -> Check {
        let namespace = &self.namespace;
        done(self.subject.plant(namespace, service, node, bytes).await?)
    }

    pub(crate) async fn fill(&self, instances: &[Instance]) -> Check {
        done(self.subject.fill(&self.namespace, instances).await?)
    }

    pub(crate) async fn cut(&self, cut: Cut) -> Check {
        done(self.subject.cut(&self.namespace, cut).await?)
    }

    pub(crate) async fn mend(&self) -> Check {
        Ok(self.subject.mend(&self.namespace).await?)
    }

    /// Has these records there while the returned guard lives, whatever the backend.
    pub(crate) async fn stock(&self, instances: &[Instance]) -> Check<Stock> {
        if !self.profile().writable {
            self.fill(instances).await?;
            return Ok(Stock {
                registry: self.open().await?,
                kept: Vec::new(),
            });
        }
        let registry = self.open().await?;
        let mut kept = Vec::new();
        for instance in instances {
            kept.push(Kept::start(self.register(&*registry, instance).await?));
        }
        Ok(Stock { registry, kept })
    }

    /// Registers for longer than the case lasts.
    pub(crate) async fn register(
        &self,
        registry: &dyn Registry,
        instance: &Instance,
    ) -> Check<Box<dyn Lease>> {
        Ok(registry.register(instance, self.patient()).await?)
    }

    /// Registers for [`Context::ttl`], whose end is what the case looks at.
    pub(crate) async fn register_briefly(
        &self,
        registry: &dyn Registry,
        instance: &Instance,
    ) -> Check<Box<dyn Lease>> {
        Ok(registry.register(instance, self.brief()).await?)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Records that are kept alive, and a client of their registry.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) kept: Vec<Kept>,
}

pub(crate) fn service(name: &str) -> Check<ServiceName> {
    Ok(ServiceName::new(name)?)
}

/// Node number `number` of a service, with content that tells it from others.
pub(crate) fn instance(name: &str, number: u32) -> Check<Instance> {
    let ip = Ipv4Addr::from(0x0a00_0001 + number);
    let id = NodeId::new(&format!("{name}-{number}"))?;
    let node = Node::new(id, Address::new(&format!("{ip}:8080"))?).with_metadata("zone", "a");
    Ok(Instance::new(service(name)?, node)
        .with_version("1.0.0")
        .with_metadata("team", "blue"))
}

/// Nodes `0..count` of a service.
pub(crate) fn instances(name: &str, count: u32) -> Check<Vec<Instance>> {
    (0..count).map(|number| instance(name, number)).collect()
}

/// The same node somewhere else, as a successor would be.
pub(crate) fn moved(instance: &Instance) -> Check<Instance> {
    let mut moved = instance.clone();
    moved.node.address = Address::new("10.99.0.1:9090")?;
    Ok(moved.with_version("2.0.0"))
}

/// A record with a number that grows.
pub(crate) fn stepped(instance: &Instance, step: u32) -> Instance {
    instance.clone().with_metadata("step", step.to_string())
}

pub(crate) fn step_of(instance: &Instance) -> u32 {
    instance
        .metadata
        .get("step")
        .and_then(|step| step.parse().ok())
        .unwrap_or(0)
}
