//! What a registry, its leases and its watchers share: the store, and the way to it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use waypost_core::{Error, InstanceKey, Result};

use crate::config::PROFILE;
use crate::error;
use crate::hub::Hub;
use crate::store::Store;

#[derive(Debug)]
pub(crate) struct Shared {
    store: Arc<Store>,
    /// At most one thread of this process waits for the directory's lock, which a process that
    /// was stopped may hold for long.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Lives as long as somebody listens.
    hub: Mutex<Weak<Hub>>,
}

impl Shared {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store: Arc::new(store),
            turn: Arc::default(),
            hub: Mutex::default(),
        }
    }

    /// Works on the store where blocking is allowed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        let result = tokio::task::spawn_blocking(move || work(&store)).await;
        result.unwrap_or_else(|_| Err(error::cut_short()))
    }

    /// Works on the store with its lock, in turn. The turn goes with the work, which ends even if
    /// nobody waits for it any more.
    pub(crate) async fn run_in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.run(move |store| {
            let result = work(store);
            drop(turn);
            result
        })
        .await
    }

    /// The kernel's hints, if it gives any.
    pub(crate) fn hub(&self) -> io::Result<Arc<Hub>> {
        let mut slot = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = slot.upgrade().filter(|hub| hub.is_alive()) {
            return Ok(hub);
        }
        let hub = Arc::new(Hub::start()?);
        *slot = Arc::downgrade(&hub);
        Ok(hub)
    }
}

/// Says where an error happened, and to what.
pub(crate) fn named(operation: &'static str, key: &InstanceKey) -> impl Fn(Error) -> Error {
    move |error| {
        error
            .with_operation(operation, key)
            .with_driver(PROFILE.driver)
    }
}
