//! A namespace by names: Consul has no key prefixes, and one agent holds the records of all cases.

use std::sync::Arc;

use futures_util::StreamExt;
use waypost_core::{
    BoxWatcher, Change, Error, Event, Instance, InstanceKey, Lease, NodeId, Profile,
    RegisterOptions, Registry, Result, ServiceName, SkipLog, WatchScope,
};
use waypost_testkit::async_trait;

/// A registry whose services and nodes are called `NAMESPACE.NAME` below, and `NAME` here.
#[derive(Debug)]
pub(crate) struct Spaced {
    inner: Arc<dyn Registry>,
    namespace: String,
}

impl Spaced {
    pub(crate) fn new(inner: Arc<dyn Registry>, namespace: &str) -> Self {
        Self {
            inner,
            namespace: namespace.to_owned(),
        }
    }
}

pub(crate) fn name(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

fn key_inside(namespace: &str, key: &InstanceKey) -> Result<InstanceKey> {
    Ok(InstanceKey::new(
        ServiceName::foreign(&name(namespace, key.service.as_str()))?,
        NodeId::foreign(&name(namespace, key.node.as_str()))?,
    ))
}

pub(crate) fn inside(namespace: &str, instance: &Instance) -> Result<Instance> {
    let key = key_inside(namespace, &instance.key())?;
    let mut inside = instance.clone();
    (inside.service, inside.node.id) = (key.service, key.node);
    Ok(inside)
}

fn key_outside(namespace: &str, key: &InstanceKey) -> Option<InstanceKey> {
    let outside = |text: &str| {
        let rest = text.strip_prefix(namespace)?.strip_prefix('.')?;
        Some(rest.to_owned())
    };
    let service = ServiceName::foreign(&outside(key.service.as_str())?).ok()?;
    let node = NodeId::foreign(&outside(key.node.as_str())?).ok()?;
    Some(InstanceKey::new(service, node))
}

fn outside(namespace: &str, instance: &Instance) -> Option<Instance> {
    let key = key_outside(namespace, &instance.key())?;
    let mut outside = instance.clone();
    (outside.service, outside.node.id) = (key.service, key.node);
    Some(outside)
}

/// The event as far as it is of the namespace; nothing when none of it is.
fn event_outside(namespace: &str, event: Event) -> Option<Event> {
    let shared = |instance: &Arc<Instance>| outside(namespace, instance).map(Arc::new);
    match event {
        Event::Snapshot(all) => Some(Event::Snapshot(all.iter().filter_map(shared).collect())),
        Event::Changed(changes) => {
            let change = |change: &Change| match change {
                Change::Upsert(instance) => shared(instance).map(Change::Upsert),
                Change::Remove(key) => key_outside(namespace, key).map(Change::Remove),
            };
            let ours: Vec<_> = changes.iter().filter_map(change).collect();
            (!ours.is_empty()).then_some(Event::Changed(ours))
        }
        Event::Confirmed => Some(Event::Confirmed),
    }
}

#[async_trait]
impl Registry for Spaced {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn skipped(&self) -> &SkipLog {
        self.inner.skipped()
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        let inner = self
            .inner
            .register(&inside(&self.namespace, instance)?, options)
            .await?;
        Ok(Box::new(SpacedLease {
            inner,
            namespace: self.namespace.clone(),
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.inner
            .deregister(&key_inside(&self.namespace, key)?)
            .await
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let service = ServiceName::foreign(&name(&self.namespace, service.as_str()))?;
        let found = self.inner.lookup(&service).await?;
        let ours = |instance| outside(&self.namespace, instance);
        Ok(found.iter().filter_map(ours).collect())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let prefix = name(&self.namespace, "");
        let all = self.inner.services().await?;
        all.iter()
            .filter_map(|service| service.as_str().strip_prefix(&prefix))
            .map(ServiceName::foreign)
            .collect()
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        let scope = match scope {
            WatchScope::All => WatchScope::All,
            WatchScope::Service(service) => {
                ServiceName::foreign(&name(&self.namespace, service.as_str()))?.into()
            }
        };
        let namespace = self.namespace.clone();
        let events = self.inner.watch(scope).await?;
        Ok(Box::pin(events.filter_map(move |event| {
            let event = match event {
                Ok(event) => event_outside(&namespace, event).map(Ok),
                Err(error) => Some(Err(error)),
            };
            std::future::ready(event)
        })))
    }
}

#[derive(Debug)]
struct SpacedLease {
    inner: Box<dyn Lease>,
    namespace: String,
}

#[async_trait]
impl Lease for SpacedLease {
    fn ttl(&self) -> std::time::Duration {
        self.inner.ttl()
    }

    async fn renew(&mut self) -> Result<()> {
        self.inner.renew().await
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        self.inner.update(&inside(&self.namespace, instance)?).await
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        self.inner.revoke().await
    }
}
