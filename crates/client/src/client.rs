//! The caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
#[cfg(feature = "tls")]
use rustls::ClientConfig;
use tokio::time::timeout_at;
use tower_layer::Layer;
use tower_service::Service;
use waypost_core::{
    Directory, DirectoryOptions, ErrorKind as CoreKind, Followed, Registry, ServiceName,
};
use waypost_resilience::{Context, Deadline, Retry, RetryPolicy};
use waypost_selector::{Balancer, Explanation, Rules, Strategy};

use crate::body::{BoxError, Outgoing};
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::GrpcChannel;
use crate::http::HttpClient;
use crate::layers::{self, CallService, Wrapper};
use crate::options::CallOptions;
use crate::pools::Pools;
use crate::route::Route;
use crate::settings::{Lookups, Settings};

/// Calls services by name. Clones share everything: nodes, connections, budgets, statistics.
///
/// ```no_run
/// # use std::sync::Arc;
/// # async fn example(registry: Arc<dyn waypost_core::Registry>) -> Result<(), Box<dyn std::error::Error>> {
/// use waypost_client::Client;
///
/// let client = Client::builder().registry(registry).build()?;
/// let answer = client.get("http://greeter/hello?name=Ann").await?;
/// println!("{}", answer.status());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// What is around each call, if anything is.
    stack: Option<CallService>,
}

#[derive(Debug)]
struct Shared {
    directory: Directory,
    settings: Arc<Settings>,
    pools: Arc<Pools>,
    routes: RwLock<HashMap<Box<str>, Arc<Route>>>,
    /// Whoever opens a route holds it, so that one route is opened once.
    opening: tokio::sync::Mutex<()>,
}

impl Client {
    /// A client's settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The directory that is read.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// The HTTP face: a `tower::Service` for requests to `http://service-name/path`.
    #[must_use]
    pub fn http(&self) -> HttpClient {
        HttpClient::new(self.clone())
    }

    /// The gRPC face: takes the place of a `tonic` channel in generated clients.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the rule that `service` breaks.
    pub fn grpc(&self, service: &str) -> Result<GrpcChannel> {
        Ok(GrpcChannel::new(self.clone(), name(service)?))
    }

    /// Begins to follow `service`, so that the first call finds its nodes known.
    ///
    /// # Errors
    /// As a call: [`ErrorKind::Registry`] when the registry does not tell in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn prepare(&self, service: &str) -> Result<()> {
        self.route(service).await.map(drop)
    }

    /// What would be picked of `service`, and why not the others; `None` before its first call.
    #[must_use]
    pub fn explain(&self, service: &str) -> Option<Explanation> {
        self.known(service).map(|route| route.balancer.explain())
    }

    /// The balancer of `service`, to tell it what is known from elsewhere; `None` before its first call.
    #[must_use]
    pub fn balancer(&self, service: &str) -> Option<Balancer> {
        self.known(service).map(|route| route.balancer.clone())
    }

    /// The services that were called.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceName> {
        let routes = self
            .shared
            .routes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        routes.values().map(|route| route.service.clone()).collect()
    }

    pub(crate) fn known(&self, service: &str) -> Option<Arc<Route>> {
        let routes = self
            .shared
            .routes
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        routes.get(service).cloned()
    }

    pub(crate) fn stack(&self) -> Option<&CallService> {
        self.stack.as_ref()
    }

    /// The client without its layers.
    pub(crate) fn bare(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            stack: None,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.shared.pools
    }

    async fn follow(&self, name: &ServiceName) -> Result<Followed> {
        let followed = self.shared.directory.follow(name.clone()).await;
        followed.map_err(|error| {
            let kind = match error.kind() {
                CoreKind::Config => ErrorKind::Config,
                _ => ErrorKind::Registry,
            };
            Error::new(kind, format!("service `{name}` cannot be looked up")).with_source(error)
        })
    }

    /// The nodes of `service`, for who balances by itself.
    #[cfg(feature = "tower")]
    pub(crate) async fn followed(&self, service: &str) -> Result<Followed> {
        self.follow(&name(service)?).await
    }

    /// The way to `service`, opened by its first call within the client's timeout.
    pub(crate) async fn route(&self, service: &str) -> Result<Arc<Route>> {
        self.route_within(service, None, &HeaderMap::new()).await
    }

    /// The way to `service`, opened by its first call within the time that the call has.
    pub(crate) async fn route_within(
        &self,
        service: &str,
        options: Option<&CallOptions>,
        headers: &HeaderMap,
    ) -> Result<Arc<Route>> {
        match self.known(service) {
            Some(known) => Ok(known),
            None => Box::pin(self.opened_within(service, options, headers)).await,
        }
    }

    /// Opens the way to `service` within the time that the call has.
    async fn opened_within(
        &self,
        service: &str,
        options: Option<&CallOptions>,
        headers: &HeaderMap,
    ) -> Result<Arc<Route>> {
        let timeout = options.and_then(|one| one.timeout);
        let deadline = Deadline::after(timeout.unwrap_or(self.shared.settings.timeout))
            .earlier_of(Context::with(Context::deadline))
            .earlier_of(Deadline::accept(headers));
        let opened = timeout_at(deadline.at(), self.open(service)).await;
        opened.unwrap_or_else(|_| {
            let text = format!(
                "service `{}` cannot be looked up: the registry did not answer in time",
                service.escape_debug()
            );
            Err(Error::new(ErrorKind::Registry, text))
        })
    }

    async fn open(&self, service: &str) -> Result<Arc<Route>> {
        let name = name(service)?;
        let followed = self.follow(&name).await?;
        let _alone = self.shared.opening.lock().await;
        if let Some(known) = self.known(service) {
            return Ok(known);
        }
        let registry = Arc::clone(self.shared.directory.registry());
        let settings = Arc::clone(&self.shared.settings);
        let pools = Arc::clone(&self.shared.pools);
        let route = Route::new(name, followed, registry, settings, pools)?;
        let mut routes = self
            .shared
            .routes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        routes.insert(service.into(), Arc::clone(&route));
        Ok(route)
    }
}

fn name(service: &str) -> Result<ServiceName> {
    // A name that came from a foreign registry may be called, as it may be found.
    ServiceName::foreign(service).map_err(|error| Error::config(error.to_string()))
}

/// A client's settings. What makes no sense is told by [`ClientBuilder::build`].
#[derive(Debug, Default)]
#[must_use]
pub struct ClientBuilder {
    directory: Option<Directory>,
    settings: Settings,
    layers: Vec<Wrapper>,
    fault: Mutex<Option<Error>>,
}

impl ClientBuilder {
    /// The registry to find nodes in.
    pub fn registry(self, registry: Arc<dyn Registry>) -> Self {
        self.directory(Directory::new(registry, DirectoryOptions::new()))
    }

    /// The directory to find nodes in, shared with others.
    pub fn directory(mut self, directory: Directory) -> Self {
        self.directory = Some(directory);
        self
    }

    /// How calls learn of nodes (`--selector=cache|registry`).
    pub fn lookups(mut self, lookups: Lookups) -> Self {
        self.settings.lookups = lookups;
        self
    }

    /// Whether a registry or a directory was given.
    #[must_use]
    pub fn has_registry(&self) -> bool {
        self.directory.is_some()
    }

    /// How a node is picked: strategy, filters, canary weights, ejection.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.settings.rules = rules;
        self
    }

    /// The strategy alone.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.settings.rules.strategy = strategy;
        self
    }

    /// How a call is tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// What is tried again (go-micro's retry function): `RetryAlways`, `RetryOnError`, a closure.
    pub fn retry_policy(mut self, policy: impl RetryPolicy) -> Self {
        self.settings.retry = self.settings.retry.with_policy(policy);
        self
    }

    /// Further attempts after the first (`--client_retries`), 100 at most. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        match self.settings.retry.clone().with_retries(retries) {
            Ok(retry) => self.settings.retry = retry,
            Err(error) => self.note(Error::config(error.to_string())),
        }
        self
    }

    /// When a call with all its attempts must be over (`--client_request_timeout`). Default 5 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        if timeout.is_zero() {
            self.note(Error::config(
                "the request timeout is 0s; it must be longer than nothing",
            ));
        }
        self.settings.timeout = timeout;
        self
    }

    /// How long a connection may take to come about. Default 250 ms.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        if limit.is_zero() {
            self.note(Error::config(
                "the connect timeout is 0s; it must be longer than nothing",
            ));
        }
        self.settings.connector.limit = limit;
        self
    }

    /// The most HTTP/1.1 connections to a node's address (`--client_pool_size`), whatever nodes stand
    /// for it. Default 100.
    pub fn pool_size(mut self, size: u32) -> Self {
        if size == 0 {
            self.note(Error::config("the pool size is 0; 1 or more is needed"));
        }
        self.settings.keeping.size = size;
        self
    }

    /// How long an idle connection is kept (`--client_pool_ttl`). Default 60 s.
    pub fn pool_ttl(mut self, ttl: Duration) -> Self {
        if ttl.is_zero() {
            self.note(Error::config(
                "the pool ttl is 0s; it must be longer than nothing",
            ));
        }
        self.settings.keeping.ttl = ttl;
        self
    }

    /// Speaks TLS to all nodes.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.settings.connector.tls = Some(config);
        self
    }

    /// Puts a tower layer around every call, within those that were added before: the place for what
    /// a company wants of all its calls. It sees a call once, however often it is tried; what is
    /// called is [`Called`](crate::Called) among the request's extensions. Without any layer calls
    /// cost nothing for this.
    ///
    /// [`OnlyFor`](crate::OnlyFor) restricts one to some endpoints, and
    /// [`CallOptions::with_layer`](crate::CallOptions::with_layer) is for one call.
    pub fn layer<L, S, B>(mut self, layer: L) -> Self
    where
        L: Layer<CallService, Service = S> + Send + Sync + 'static,
        S: Service<Request<Outgoing>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.layers.push(Wrapper::new(layer));
        self
    }

    /// The longest answer that [`Client::call`] reads, in bytes. Default 4 MiB.
    pub fn largest_answer(mut self, bytes: usize) -> Self {
        self.settings.largest = bytes;
        self
    }

    fn note(&self, error: Error) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.get_or_insert(error);
    }

    /// The client.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first setting that makes no sense, by name and rule.
    pub fn build(self) -> Result<Client> {
        if let Some(fault) = self
            .fault
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            return Err(fault);
        }
        let Some(directory) = self.directory else {
            return Err(Error::config("a client needs a registry or a directory"));
        };
        let rules = self.settings.rules.check();
        rules.map_err(|error| Error::config(error.to_string()))?;
        let (connector, keeping) = (self.settings.connector.clone(), self.settings.keeping);
        let mut client = Client {
            shared: Arc::new(Shared {
                directory,
                settings: Arc::new(self.settings),
                pools: Arc::new(Pools::new(connector, keeping)),
                routes: RwLock::default(),
                opening: tokio::sync::Mutex::default(),
            }),
            stack: None,
        };
        if !self.layers.is_empty() {
            client.stack = Some(layers::stack(&client, &self.layers));
        }
        Ok(client)
    }
}
