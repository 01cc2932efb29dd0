//! The registry behind `--selector=static`: a service's name is the address of its one node.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use waypost_core::{
    Address, BoxWatcher, Error, ErrorKind, Event, Instance, InstanceKey, Lease, Node, NodeId,
    Profile, RegisterOptions, Registry, Result, ServiceName, SkipLog, WatchScope,
};

const PROFILE: Profile = Profile {
    driver: "static",
    least_ttl: std::time::Duration::ZERO,
    slack: std::time::Duration::ZERO,
    writable: false,
    owned: false,
    tells_loss: false,
    native_watch: false,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// Whatever is asked for is there, at the address that it is called.
#[derive(Debug)]
pub(crate) struct Dialled {
    skipped: SkipLog,
}

impl Dialled {
    pub(crate) fn new() -> Self {
        let skipped = SkipLog::new();
        Self { skipped }
    }
}

fn instance(service: &ServiceName) -> Result<Instance> {
    let address = Address::new(service.as_str()).map_err(|error| {
        let text = "with `--selector=static` a service's name is the address to dial, `host:port`";
        Error::config(text).with_source(error)
    })?;
    let id = NodeId::foreign(service.as_str())?;
    Ok(Instance::new(service.clone(), Node::new(id, address)))
}

fn read_only(operation: &'static str, subject: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "names that are addresses cannot be registered",
    )
    .with_operation(operation, subject)
    .with_driver(PROFILE.driver)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Dialled {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(&self, instance: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>> {
        Err(read_only("register", instance.key()))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        Err(read_only("deregister", key))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        Ok(vec![instance(service)?])
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        Ok(Vec::new())
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        let all = match &scope {
            WatchScope::Service(service) => vec![Arc::new(instance(service)?)],
            _ => Vec::new(),
        };
        // The one state there ever is; the stream stays open.
        let first = stream::once(async move { Ok(Event::Snapshot(all)) });
        let never = std::future::pending().into_stream();
        Ok(Box::pin(first.chain(never)))
    }
}
