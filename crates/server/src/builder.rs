//! What a program says of its service.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use waypost_core::{Endpoint, Metadata, RegistrationOptions, Registry, Result};

use crate::admin::Admin;
use crate::advertise::Advertise;
use crate::check::Check;
use crate::hooks::{BoxError, Hooks};
use crate::plan::{Ends, Plan};
use crate::running::Running;
use crate::stop::Stop;

/// A service that is ready to start; see the [crate's page](crate).
#[derive(Debug)]
pub struct Service {
    plan: Plan,
}

impl Service {
    /// Begins to describe the service called `name`.
    #[must_use]
    pub fn builder(name: impl Into<String>) -> ServiceBuilder {
        ServiceBuilder::new(name.into())
    }

    /// Starts it: binds, serves, registers. Returns when it can be called by its name, or, where
    /// the registry does not answer, after three seconds: it is registered when the registry is
    /// back.
    ///
    /// # Errors
    /// When it cannot listen, when nobody answers at its advertised address, when a hook fails, or
    /// when [`ServiceBuilder::require_registration`] is not met.
    ///
    /// # Cancel safety
    /// A dropped future ends what has been started; a record goes with its ttl.
    pub async fn start(self) -> Result<Running> {
        Running::start(self.plan).await
    }

    /// Starts it and stays until it is asked to stop and has left.
    ///
    /// # Errors
    /// As [`Service::start`]; also the last failure of a stop hook.
    ///
    /// # Cancel safety
    /// As [`Service::start`].
    pub async fn run(self) -> Result<()> {
        Running::run(self.plan).await
    }
}

/// Describes a [`Service`]. Nothing is checked before [`ServiceBuilder::build`].
#[derive(Debug)]
pub struct ServiceBuilder {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) id: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) registry: Option<Arc<dyn Registry>>,
    pub(crate) registration: RegistrationOptions,
    pub(crate) require: Option<Duration>,
    pub(crate) listen: String,
    pub(crate) advertise: Advertise,
    pub(crate) dial_check: bool,
    pub(crate) http: Option<Router>,
    #[cfg(feature = "tonic")]
    pub(crate) grpc: crate::grpc::Services,
    pub(crate) request_limit: Option<Duration>,
    pub(crate) checks: Vec<Check>,
    pub(crate) probes: bool,
    pub(crate) admin: Option<Admin>,
    pub(crate) admin_address: String,
    #[cfg(feature = "prometheus")]
    pub(crate) prometheus: bool,
    pub(crate) signals: bool,
    pub(crate) stop: Stop,
    pub(crate) propagation: Option<Duration>,
    pub(crate) drain: Duration,
    pub(crate) before_start: Hooks,
    pub(crate) after_start: Hooks,
    pub(crate) before_stop: Hooks,
    pub(crate) after_stop: Hooks,
}

impl ServiceBuilder {
    fn new(name: String) -> Self {
        Self {
            name,
            version: "latest".to_owned(),
            id: None,
            metadata: Metadata::new(),
            endpoints: Vec::new(),
            registry: None,
            registration: RegistrationOptions::new(),
            require: None,
            listen: "0.0.0.0:0".to_owned(),
            advertise: Advertise::default(),
            dial_check: true,
            http: None,
            #[cfg(feature = "tonic")]
            grpc: crate::grpc::Services::default(),
            request_limit: None,
            checks: Vec::new(),
            probes: false,
            admin: Some(Admin::new()),
            admin_address: "127.0.0.1:0".to_owned(),
            #[cfg(feature = "prometheus")]
            prometheus: false,
            signals: true,
            stop: Stop::new(),
            propagation: None,
            drain: Duration::from_secs(10),
            before_start: Hooks::default(),
            after_start: Hooks::default(),
            before_stop: Hooks::default(),
            after_stop: Hooks::default(),
        }
    }

    /// Replaces the name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the version (default `latest`).
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the node's id, unique within the service (default the name and a random UUID).
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a pair to the node's metadata. It wins over a pair of the house's own: `protocol`,
    /// `server`, `transport`, `registry`, [`ADMIN_KEY`](crate::ADMIN_KEY).
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Lists something that the service can be asked to do. A router does not tell its routes, so
    /// those that callers should see are listed here.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Sets the registry to register with.
    #[must_use]
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Says where the registry is, as `host:port`; may be called for each of its addresses. Where
    /// the service listens on every interface, the way there shows which address to advertise.
    #[must_use]
    pub fn registry_address(mut self, endpoint: impl Into<String>) -> Self {
        self.advertise.towards.push(endpoint.into());
        self
    }

    /// Sets how long the registry keeps the record if nobody renews it (default 30 s).
    #[must_use]
    pub fn register_ttl(mut self, ttl: Duration) -> Self {
        self.registration.ttl = ttl;
        self
    }

    /// Sets how often the record is renewed (default a third of the granted ttl).
    #[must_use]
    pub fn register_interval(mut self, interval: Duration) -> Self {
        self.registration.interval = Some(interval);
        self
    }

    /// Makes the start fail, instead of going on to try, where the service is not registered and
    /// found within `limit`.
    #[must_use]
    pub fn require_registration(mut self, limit: Duration) -> Self {
        self.require = Some(limit);
        self
    }

    /// Sets where to listen: `host:port`, where port 0 takes a free one (default `0.0.0.0:0`).
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Sets the address to register: `host:port`, or a host alone, which gets the listener's port.
    /// Default the host that is listened on; where that is every interface, loopback with a
    /// registry of this machine alone, else this machine's address on the way to the registry.
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise.explicit = Some(address.into());
        self
    }

    /// Whether the advertised address is dialled before it is registered (default yes).
    #[must_use]
    pub fn dial_check(mut self, check: bool) -> Self {
        self.dial_check = check;
        self
    }

    /// Serves `router`. The second time, the routers are merged, as axum does.
    ///
    /// # Panics
    /// As [`Router::merge`], where two routers have the same route.
    #[must_use]
    pub fn serve(mut self, router: Router) -> Self {
        self.http = Some(match self.http {
            Some(first) => first.merge(router),
            None => router,
        });
        self
    }

    /// Serves a gRPC service, as tonic generates it; may be called for several, and beside
    /// [`ServiceBuilder::serve`], on the same port. Calls find it whatever package their path
    /// names, as they find go-micro's. grpc.health.v1 is served too.
    #[cfg(feature = "tonic")]
    #[must_use]
    pub fn serve_grpc<S>(mut self, service: S) -> Self
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Error = std::convert::Infallible,
            > + tonic::server::NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.grpc.add(service);
        self
    }

    /// Bounds requests whose caller names no deadline, or a later one (default no bound of its own).
    /// A request is dropped at its deadline, and one that comes too late is never begun.
    #[must_use]
    pub fn request_limit(mut self, limit: Duration) -> Self {
        self.request_limit = Some(limit);
        self
    }

    /// Adds a health check. While one fails, the service is not registered.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Answers `/livez` and `/readyz` on the service's own port too, before the router.
    #[must_use]
    pub fn probes(mut self) -> Self {
        self.probes = true;
        self
    }

    /// Shows this service on `admin`, which other parts of the program may share.
    #[must_use]
    pub fn admin(mut self, admin: &Admin) -> Self {
        self.admin = Some(admin.clone());
        self
    }

    /// Sets where the admin listener is (default `127.0.0.1:0`). Whoever reaches it sees everything:
    /// name another interface only where that is wanted.
    #[must_use]
    pub fn admin_address(mut self, address: impl Into<String>) -> Self {
        self.admin_address = address.into();
        self
    }

    /// Has no admin listener.
    #[must_use]
    pub fn without_admin(mut self) -> Self {
        self.admin = None;
        self
    }

    /// Records metrics, and shows them under `/metrics` of the admin listener.
    #[cfg(feature = "prometheus")]
    #[must_use]
    pub fn prometheus(mut self) -> Self {
        self.prometheus = true;
        self
    }

    /// Whether SIGTERM, SIGINT and SIGQUIT stop the service (default yes). Once a service has
    /// listened for them, they do not end the process by themselves any more.
    #[must_use]
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.signals = handle;
        self
    }

    /// Stops the service when `stop` is asked to.
    #[must_use]
    pub fn stop_with(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Sets how long the listener stays open once the record is gone, so that callers learn of it
    /// (default twice the time that the record took to be seen, at least 1 s).
    #[must_use]
    pub fn propagation(mut self, wait: Duration) -> Self {
        self.propagation = Some(wait);
        self
    }

    /// Sets how long requests may take to end once the listener is closed (default 10 s).
    #[must_use]
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Runs `hook` before anything else is done. A failure aborts the start.
    #[must_use]
    pub fn before_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<(), BoxError>> + Send + 'static,
    {
        self.before_start.add(hook);
        self
    }

    /// Runs `hook` when the service is up. A failure stops it again.
    #[must_use]
    pub fn after_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<(), BoxError>> + Send + 'static,
    {
        self.after_start.add(hook);
        self
    }

    /// Runs `hook` when the service is asked to stop, before it deregisters. A failure is logged,
    /// and the last one returned in the end.
    #[must_use]
    pub fn before_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<(), BoxError>> + Send + 'static,
    {
        self.before_stop.add(hook);
        self
    }

    /// Runs `hook` when the last request has ended. A failure is logged and returned.
    #[must_use]
    pub fn after_stop<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<(), BoxError>> + Send + 'static,
    {
        self.after_stop.add(hook);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the thing and the rule it
    /// breaks; [`ErrorKind::Unsupported`](waypost_core::ErrorKind::Unsupported) for a registry that
    /// cannot be written.
    pub fn build(self) -> Result<Service> {
        let ends = Ends {
            signals: Stop::new(),
            code: self.stop.clone(),
        };
        Ok(Service {
            plan: Plan::of(self, ends)?,
        })
    }

    /// Builds it and starts it; see [`Service::start`].
    ///
    /// # Errors
    /// As [`ServiceBuilder::build`] and [`Service::start`].
    ///
    /// # Cancel safety
    /// As [`Service::start`].
    pub async fn start(self) -> Result<Running> {
        self.build()?.start().await
    }

    /// Builds it and runs it to its end; see [`Service::run`].
    ///
    /// # Errors
    /// As [`ServiceBuilder::build`] and [`Service::run`].
    ///
    /// # Cancel safety
    /// As [`Service::start`].
    pub async fn run(self) -> Result<()> {
        self.build()?.run().await
    }
}
