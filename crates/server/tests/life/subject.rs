//! The service and the registry under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get as on_get;
use tokio::time::sleep;
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};
use waypost_memory::MemoryRegistry;
use waypost_server::{Service, ServiceBuilder};

/// How long anything may take that a test waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A memory registry that can be away.
#[derive(Debug)]
pub(crate) struct Away {
    inner: MemoryRegistry,
    pub(crate) away: AtomicBool,
}

impl Away {
    pub(crate) fn new(away: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryRegistry::new(),
            away: AtomicBool::new(away),
        })
    }

    fn here(&self) -> Result<&MemoryRegistry> {
        match self.away.load(SeqCst) {
            true => Err(Error::unavailable("the registry is away")),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl Registry for Away {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }
    fn skipped(&self) -> &SkipLog {
        self.inner.skipped()
    }
    async fn register(&self, one: &Instance, how: RegisterOptions) -> Result<Box<dyn Lease>> {
        self.here()?.register(one, how).await
    }
    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.here()?.deregister(key).await
    }
    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.here()?.lookup(service).await
    }
    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.here()?.services().await
    }
    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.here()?.watch(scope).await
    }
}

pub(crate) fn router() -> Router {
    Router::new()
        .route("/hello", on_get(|| async { "hello" }))
        .route(
            "/slow",
            on_get(|| async {
                sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        )
        .route("/panic", on_get(panicking))
}

async fn panicking() -> &'static str {
    panic!("a secret of the handler's")
}

pub(crate) fn greeter(registry: Arc<dyn Registry>) -> ServiceBuilder {
    Service::builder("greeter")
        .registry(registry)
        .address("127.0.0.1:0")
        .handle_signals(false)
        .propagation(Duration::from_millis(50))
        .serve(router())
}

pub(crate) async fn nodes(registry: &dyn Registry) -> Vec<Instance> {
    let name = ServiceName::new("greeter").expect("name");
    registry.lookup(&name).await.unwrap_or_default()
}
