//! A registry that fails on command, over any other.
//!
//! What the keeper and the directory owe their users does not depend on how a backend fails, so
//! the suite puts a [`Faulty`] between them and the registry under test and turns its [`Switch`].

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_core::{
    BoxWatcher, Error, ErrorKind, Event, Instance, InstanceKey, Lease, Profile, RegisterOptions,
    Registry, Result, ServiceName, SkipLog, WatchScope,
};

/// Calls that are remembered; later ones are not, so that a long run costs bounded memory.
const REMEMBERED: usize = 1 << 16;

/// How everything fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every operation and every open watch fails with an error of this kind.
    Fail(ErrorKind),
    /// Every operation hangs and every open watch is silent.
    Hang,
}

/// One call that reached a [`Faulty`] registry, or a lease of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// When.
    pub at: Instant,
    /// `register`, `renew`, `update`, `revoke`, `deregister`, `lookup`, `services`, `watch`.
    pub operation: &'static str,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mode {
    fault: Option<Fault>,
    /// Leases of an older generation are lost.
    generation: u64,
    ttl: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    calls: Mutex<Vec<Call>>,
    watches: AtomicUsize,
}

/// Turns the faults of a [`Faulty`] registry on and off, and knows what was asked of it.
#[derive(Debug, Clone)]
pub struct Switch(Arc<Shared>);

impl Switch {
    /// Makes everything fail from now on, open watches included.
    pub fn fail(&self, fault: Fault) {
        self.0.mode.send_modify(|mode| mode.fault = Some(fault));
    }

    /// Lets everything through again; what hangs goes on.
    pub fn heal(&self) {
        self.0.mode.send_modify(|mode| mode.fault = None);
    }

    /// Tells every lease granted so far that it is lost; renewing one says so too. The records
    /// stay: this is a backend that lost its mind, not its data.
    pub fn lose_leases(&self) {
        self.0.mode.send_modify(|mode| mode.generation += 1);
    }

    /// Grants this ttl from now on, whatever is asked for.
    pub fn grant(&self, ttl: Duration) {
        self.0.mode.send_modify(|mode| mode.ttl = Some(ttl));
    }

    /// What was asked so far, refused calls included; the first 65 536 calls.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// How often `operation` was asked for so far.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.lock()
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    }

    /// How many watches are open.
    #[must_use]
    pub fn open_watches(&self) -> usize {
        self.0.watches.load(Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call; fails it or lets it hang if that is how things stand.
    async fn gate(&self, operation: &'static str) -> Result<()> {
        {
            let mut calls = self.lock();
            if calls.len() < REMEMBERED {
                let at = Instant::now();
                calls.push(Call { at, operation });
            }
        }
        let mut mode = self.0.mode.subscribe();
        let through = |mode: &Mode| mode.fault != Some(Fault::Hang);
        let fault = match mode.wait_for(through).await {
            Ok(mode) => mode.fault,
            // The sender lives in `self`.
            Err(_) => None,
        };
        match fault {
            Some(Fault::Fail(kind)) => Err(switched_off(kind)),
            Some(Fault::Hang) | None => Ok(()),
        }
    }
}

fn switched_off(kind: ErrorKind) -> Error {
    Error::new(kind, "switched off by the suite")
}

/// A registry that fails as its [`Switch`] says, and else does what the one below does.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Registry>,
    switch: Switch,
}

impl Faulty {
    /// Puts a switch before `inner`.
    pub fn over(inner: Arc<dyn Registry>) -> (Arc<dyn Registry>, Switch) {
        let switch = Switch(Arc::new(Shared {
            mode: watch::Sender::new(Mode::default()),
            calls: Mutex::default(),
            watches: AtomicUsize::new(0),
        }));
        let faulty = Self {
            inner,
            switch: switch.clone(),
        };
        (Arc::new(faulty), switch)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Faulty {
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
        self.switch.gate("register").await?;
        let mode = *self.switch.0.mode.borrow();
        let options = RegisterOptions::new(mode.ttl.unwrap_or(options.ttl));
        Ok(Box::new(FaultyLease {
            inner: self.inner.register(instance, options).await?,
            switch: self.switch.clone(),
            generation: mode.generation,
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.switch.gate("deregister").await?;
        self.inner.deregister(key).await
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.switch.gate("lookup").await?;
        self.inner.lookup(service).await
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.switch.gate("services").await?;
        self.inner.services().await
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.switch.gate("watch").await?;
        let inner = self.inner.watch(scope).await?;
        let open = Open::new(&self.switch, inner);
        Ok(Box::pin(stream::unfold(Some(open), |open| async move {
            let mut open = open?;
            match open.next().await? {
                Ok(event) => Some((Ok(event), Some(open))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

/// An open watch. Counted while it lives.
struct Open {
    inner: BoxWatcher,
    mode: watch::Receiver<Mode>,
    switch: Switch,
}

impl Open {
    fn new(switch: &Switch, inner: BoxWatcher) -> Self {
        switch.0.watches.fetch_add(1, Ordering::SeqCst);
        Self {
            inner,
            mode: switch.0.mode.subscribe(),
            switch: switch.clone(),
        }
    }

    async fn next(&mut self) -> Option<Result<Event>> {
        loop {
            let fault = self.mode.borrow_and_update().fault;
            if let Some(Fault::Fail(kind)) = fault {
                return Some(Err(switched_off(kind)));
            }
            tokio::select! {
                biased;
                _ = self.mode.changed() => {}
                event = self.inner.next(), if fault.is_none() => return event,
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.switch.0.watches.fetch_sub(1, Ordering::SeqCst);
    }
}

struct FaultyLease {
    inner: Box<dyn Lease>,
    switch: Switch,
    generation: u64,
}

impl FaultyLease {
    async fn gate(&self, operation: &'static str) -> Result<()> {
        self.switch.gate(operation).await?;
        if self.switch.0.mode.borrow().generation == self.generation {
            return Ok(());
        }
        Err(switched_off(ErrorKind::LeaseLost))
    }
}

impl fmt::Debug for FaultyLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyLease").field(&self.inner).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for FaultyLease {
    fn ttl(&self) -> Duration {
        self.inner.ttl()
    }

    async fn renew(&mut self) -> Result<()> {
        self.gate("renew").await?;
        self.inner.renew().await
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        self.gate("update").await?;
        self.inner.update(instance).await
    }

    async fn lost(&self) -> Error {
        let mut mode = self.switch.0.mode.subscribe();
        tokio::select! {
            error = self.inner.lost() => error,
            _ = mode.wait_for(|mode| mode.generation != self.generation) => {
                switched_off(ErrorKind::LeaseLost)
            }
        }
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        self.gate("revoke").await?;
        self.inner.revoke().await
    }
}
