//! What one call asks for, beside what its client says for all.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;
use waypost_resilience::Retry;
use waypost_selector::{Filter, Key, Strategy};

use crate::body::{BoxError, Outgoing};
use crate::layers::{CallService, Wrapper};

/// What one call asks for. Put it into the extensions of an HTTP or gRPC request, or hand it to
/// [`Client::call_with`](crate::Client::call_with).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// When the call must be over; else the client's timeout, or what is left to the call on whose
    /// behalf this one is made, whichever is less.
    pub timeout: Option<Duration>,
    /// Whether running it twice is the same as running it once; else by the HTTP method.
    pub idempotent: Option<bool>,
    /// How it is tried again, instead of the client's way.
    pub retry: Option<Retry>,
    /// What its node must meet, beside the client's rules.
    pub filters: Vec<Filter>,
    /// How its node is chosen, instead of the client's way.
    pub strategy: Option<Strategy>,
    /// What ties it to a node or a version.
    pub key: Option<Key>,
    /// The endpoint's name for messages, metrics and retry policies, instead of the path.
    pub endpoint: Option<String>,
    pub(crate) layers: Vec<Wrapper>,
}

impl CallOptions {
    /// Nothing in particular.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets when the call must be over.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says whether running it twice is the same as running it once.
    #[must_use]
    pub fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sets how it is tried again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Adds what its node must meet.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Sets how its node is chosen.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// Ties it to a node (consistent hashing) or a version (canary).
    #[must_use]
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Puts a tower layer around the call, outside of the client's: see
    /// [`ClientBuilder::layer`](crate::ClientBuilder::layer).
    #[must_use]
    pub fn with_layer<L, S, B>(mut self, layer: L) -> Self
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

    /// Names the endpoint for messages, metrics and retry policies, instead of the path.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }
}
