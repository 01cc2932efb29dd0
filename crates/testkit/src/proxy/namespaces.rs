//! A proxy a namespace, for [`Subject::cut`](crate::Subject::cut).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use waypost_conformance::{Cut, Planted};
use waypost_core::{Error, Result};

use super::{Manner, Proxy};

type Shared = Arc<OnceCell<Proxy>>;

/// Gives each namespace of a server its own way there, so that one can be cut off alone.
#[derive(Debug)]
pub struct Proxies {
    upstream: String,
    datagrams: bool,
    all: Mutex<HashMap<String, Shared>>,
}

impl Proxies {
    /// Ways to the server at `upstream` (`host:port`).
    pub fn new(upstream: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            datagrams: false,
            all: Mutex::default(),
        }
    }

    /// Ways that datagrams go as well.
    #[must_use]
    pub fn with_datagrams(mut self) -> Self {
        self.datagrams = true;
        self
    }

    /// Where clients of `namespace` dial, as `127.0.0.1:port`.
    ///
    /// # Errors
    /// `Unavailable` when no port can be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn address(&self, namespace: &str) -> Result<String> {
        let proxy = Arc::clone(self.lock().entry(namespace.to_owned()).or_default());
        let started = proxy
            .get_or_try_init(async || match self.datagrams {
                true => Proxy::start_with_datagrams(self.upstream.clone()).await,
                false => Proxy::start(self.upstream.clone()).await,
            })
            .await;
        started
            .map(Proxy::address)
            .map_err(|error| Error::unavailable("no port for a proxy").with_source(error))
    }

    /// Takes the server away from the clients of `namespace`.
    pub fn cut(&self, namespace: &str, cut: Cut) -> Planted {
        self.behave(
            namespace,
            match cut {
                Cut::Refuse => Manner::Refuse,
                Cut::Silence => Manner::Hold,
            },
        )
    }

    /// Gives it back.
    pub fn mend(&self, namespace: &str) {
        self.behave(namespace, Manner::Forward);
    }

    fn behave(&self, namespace: &str, manner: Manner) -> Planted {
        match self.lock().get(namespace).and_then(|proxy| proxy.get()) {
            Some(proxy) => {
                proxy.behave(manner);
                Planted::Done
            }
            None => Planted::Unsupported("nobody opened a client of the namespace"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shared>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
