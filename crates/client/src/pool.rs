//! The connections to one node.
//!
//! HTTP/1.1: as many as calls are under way, at most `size`; who comes when all are used waits for
//! one. HTTP/2: one, shared, and another when that one ends. An idle connection is used last in,
//! first out, so that those that are not needed grow old and are closed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use waypost_core::Address;

use crate::body::Sending;
use crate::connect::{Connector, Sender, Version};
use crate::error::{Error, ErrorKind, Result};

/// Sweeps within a ttl.
const SWEEPS: u32 = 4;

/// How connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) size: u32,
    pub(crate) ttl: Duration,
}

type One = http1::SendRequest<Sending>;
type Two = http2::SendRequest<Sending>;

/// The connections to one node.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    connector: Connector,
    keeping: Keeping,
    state: Mutex<State>,
    /// Open HTTP/1.1 connections, used or idle.
    open: AtomicU32,
    two: Mutex<Option<Two>>,
    /// Sweeps so far: the clock of idle connections.
    sweeps: AtomicU32,
    /// Whoever holds it makes the HTTP/2 connection; the others wait for that one.
    dialling: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    waiting: VecDeque<oneshot::Sender<Option<Lease>>>,
}

#[derive(Debug)]
struct Idle {
    sender: One,
    /// The sweep that it became idle after.
    since: u32,
}

/// A connection for one call.
#[derive(Debug)]
pub(crate) enum Lease {
    One(Owned),
    Two(Two),
}

/// An HTTP/1.1 connection and its place among the open ones.
#[derive(Debug)]
pub(crate) struct Owned {
    sender: Option<One>,
    pool: Arc<Pool>,
}

impl Drop for Owned {
    /// Without a connection that can be used again the place is free.
    fn drop(&mut self) {
        if self.sender.take().is_some() {
            self.pool.close_one();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(address: Address, connector: Connector, keeping: Keeping) -> Arc<Self> {
        Arc::new(Self {
            address,
            connector,
            keeping,
            state: Mutex::default(),
            open: AtomicU32::new(0),
            two: Mutex::default(),
            sweeps: AtomicU32::new(0),
            dialling: AsyncMutex::new(()),
        })
    }

    /// Whether a connection is open, so that a call need not wait for one to a node that may not
    /// be there.
    pub(crate) fn is_connected(&self, version: Version) -> bool {
        match version {
            Version::One => self.open.load(Ordering::Relaxed) > 0,
            Version::Two => locked(&self.two)
                .as_ref()
                .is_some_and(|two| !two.is_closed()),
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        let two = locked(&self.two)
            .as_ref()
            .is_some_and(|two| !two.is_closed());
        self.open.load(Ordering::Relaxed) + u32::from(two)
    }

    /// A connection that is ready now or after a wait for one: dropping the future gives back what
    /// it holds.
    pub(crate) async fn lease(self: &Arc<Self>, version: Version) -> Result<Lease> {
        match version {
            Version::One => self.lease_one().await,
            Version::Two => self.lease_two().await.map(Lease::Two),
        }
    }

    async fn lease_one(self: &Arc<Self>) -> Result<Lease> {
        loop {
            if let Some(lease) = self.idle().await {
                return Ok(lease);
            }
            let waiter = {
                let mut state = locked(&self.state);
                if !state.idle.is_empty() {
                    continue;
                }
                if self.open.load(Ordering::Relaxed) < self.keeping.size {
                    self.open.fetch_add(1, Ordering::Relaxed);
                    None
                } else {
                    let (send, receive) = oneshot::channel();
                    state.waiting.push_back(send);
                    Some(receive)
                }
            };
            match waiter {
                None => return self.dial_one().await.map(Lease::One),
                Some(waiter) => {
                    if let Ok(Some(lease)) = waiter.await {
                        return Ok(lease);
                    }
                }
            }
        }
    }

    /// The idle connection that was used last, if one still lives.
    async fn idle(self: &Arc<Self>) -> Option<Lease> {
        loop {
            let idle = locked(&self.state).idle.pop()?;
            let mut owned = Owned {
                sender: Some(idle.sender),
                pool: Arc::clone(self),
            };
            let Some(sender) = &mut owned.sender else {
                continue;
            };
            if sender.is_ready() {
                return Some(Lease::One(owned));
            }
            if !sender.is_closed() && poll_fn(|cx| sender.poll_ready(cx)).await.is_ok() {
                return Some(Lease::One(owned));
            }
        }
    }

    /// Makes a connection for a place that is taken already.
    async fn dial_one(self: &Arc<Self>) -> Result<Owned> {
        // Gives the place back, also when this future is dropped.
        struct Place<'a>(Option<&'a Pool>);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                if let Some(pool) = self.0.take() {
                    pool.close_one();
                }
            }
        }
        let mut place = Place(Some(self));
        match self.connector.connect(&self.address, Version::One).await? {
            Sender::One(sender) => {
                place.0 = None;
                Ok(Owned {
                    sender: Some(sender),
                    pool: Arc::clone(self),
                })
            }
            Sender::Two(_) => Err(Error::new(ErrorKind::Connect, "asked for HTTP/1.1")),
        }
    }

    async fn lease_two(&self) -> Result<Two> {
        if let Some(two) = self.shared_two() {
            return Ok(two);
        }
        let _alone = self.dialling.lock().await;
        if let Some(two) = self.shared_two() {
            return Ok(two);
        }
        match self.connector.connect(&self.address, Version::Two).await? {
            Sender::Two(two) => {
                *locked(&self.two) = Some(two.clone());
                Ok(two)
            }
            Sender::One(_) => Err(Error::new(ErrorKind::Connect, "asked for HTTP/2")),
        }
    }

    fn shared_two(&self) -> Option<Two> {
        let mut shared = locked(&self.two);
        if shared.as_ref().is_some_and(Two::is_closed) {
            *shared = None;
        }
        shared.clone()
    }

    /// Makes a connection that nobody asked for yet.
    pub(crate) async fn warm(self: &Arc<Self>, version: Version) -> Result<()> {
        if self.is_connected(version) {
            return Ok(());
        }
        match version {
            Version::One => {
                self.open.fetch_add(1, Ordering::Relaxed);
                let mut owned = self.dial_one().await?;
                if let Some(sender) = owned.sender.take() {
                    self.put(sender);
                }
            }
            Version::Two => {
                self.lease_two().await?;
            }
        }
        Ok(())
    }

    /// Takes back a connection whose call is over.
    fn put(self: &Arc<Self>, sender: One) {
        if sender.is_closed() {
            return self.close_one();
        }
        let mut state = locked(&self.state);
        let mut sender = Some(sender);
        while let Some(waiter) = state.waiting.pop_front() {
            let lease = Lease::One(Owned {
                sender: sender.take(),
                pool: Arc::clone(self),
            });
            match waiter.send(Some(lease)) {
                Ok(()) => return,
                // Who waited has gone: the next one.
                Err(lease) => {
                    if let Some(Lease::One(mut owned)) = lease {
                        sender = owned.sender.take();
                    }
                }
            }
        }
        if let Some(sender) = sender {
            state.idle.push(Idle {
                sender,
                since: self.sweeps.load(Ordering::Relaxed),
            });
        }
    }

    /// A place is free; who waits longest may make a connection.
    fn close_one(&self) {
        let mut state = locked(&self.state);
        self.open.fetch_sub(1, Ordering::Relaxed);
        while let Some(waiter) = state.waiting.pop_front() {
            if waiter.send(None).is_ok() {
                return;
            }
        }
    }

    /// Closes what the node has closed, and what was idle for the ttl: called [`SWEEPS`] times in it.
    pub(crate) fn sweep(&self) {
        let now = self.sweeps.fetch_add(1, Ordering::Relaxed) + 1;
        let mut gone = Vec::new();
        let mut state = locked(&self.state);
        let is_old =
            |idle: &mut Idle| idle.sender.is_closed() || now.wrapping_sub(idle.since) > SWEEPS;
        gone.extend(state.idle.extract_if(.., is_old));
        drop(state);
        for _ in gone {
            self.close_one();
        }
    }

    /// How long a sweeper is to wait between sweeps.
    pub(crate) fn sweep_every(keeping: Keeping) -> Duration {
        (keeping.ttl / SWEEPS).max(Duration::from_millis(100))
    }
}

impl Owned {
    /// The connection, to send with.
    pub(crate) fn sender(&mut self) -> Option<&mut One> {
        self.sender.as_mut()
    }

    /// Gives the connection back for the next call: its answer was read to the end.
    pub(crate) fn put_back(mut self) {
        if let Some(sender) = self.sender.take() {
            let pool = Arc::clone(&self.pool);
            pool.put(sender);
        }
    }
}
