//! The connections to one address.
//!
//! HTTP/1.1: as many as calls are under way, at most `size`; who comes when all are used waits for
//! one, in order. HTTP/2: one, shared, and another when that one ends. An idle connection is used
//! last in, first out, so that those that are not needed grow old and are closed.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::Instant;
use waypost_core::Address;

use crate::body::Sending;
use crate::connect::{Connector, Ear, Live, One};
use crate::error::{Error, ErrorKind, Result};
use crate::version::Version;

/// Sweeps within a ttl.
const SWEEPS: u32 = 4;

/// How long a connection was not used that is looked at before it is used again: the look is a
/// system call. In a stream of calls there is none, and one that ends then has ended under a call, or
/// while its end was on the way, which no look would tell.
const QUIET: Duration = Duration::from_micros(100);

/// How connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) size: u32,
    pub(crate) ttl: Duration,
}

type Two = http2::SendRequest<Sending>;

/// The connections to one address.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    connector: Connector,
    /// A place for each HTTP/1.1 connection that is used. Since one is made only when none is idle,
    /// there are never more of them, used and idle, than places.
    places: Semaphore,
    idle: Mutex<Vec<Idle>>,
    two: Mutex<Option<Shared>>,
    /// Whoever holds it makes the HTTP/2 connection; the others wait for that one.
    dialling: AsyncMutex<()>,
    /// HTTP/1.1 connections that are open: each counts itself out when it ends.
    live: Live,
    /// When it was swept last, by the clock of idle connections.
    swept: AtomicU32,
}

#[derive(Debug)]
struct Idle {
    connection: One,
    /// The last sweep before it became idle.
    since: u32,
    used: Instant,
}

/// The HTTP/2 connection.
#[derive(Debug)]
struct Shared {
    sender: Two,
    ear: Ear,
    used: Instant,
}

/// A connection for one call.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) line: Line,
    /// Whether it served others before: then its end says nothing about the node.
    pub(crate) used_before: bool,
}

/// What a call is sent over.
#[derive(Debug)]
pub(crate) enum Line {
    One(Owned),
    Two(Two),
}

/// An HTTP/1.1 connection and its place in the pool. Dropped, the connection is closed, so that the
/// node learns that nobody waits for its answer; the place is free again.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) connection: One,
    place: Place,
}

/// A place among the connections that are used, free again when this is dropped.
#[derive(Debug)]
struct Place(Arc<Pool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.add_permits(1);
    }
}

impl Lease {
    /// The HTTP/2 connection, which others use too.
    fn again(two: Two) -> Self {
        Self {
            line: Line::Two(two),
            used_before: true,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(crate) fn new(
        address: Address,
        connector: Connector,
        keeping: Keeping,
        now: u32,
    ) -> Arc<Self> {
        Arc::new(Self {
            address,
            connector,
            places: Semaphore::new(keeping.size as usize),
            idle: Mutex::default(),
            two: Mutex::default(),
            dialling: AsyncMutex::new(()),
            live: Live::default(),
            swept: AtomicU32::new(now),
        })
    }

    /// Whether a connection is open, so that a call need not wait for one to a node that may not
    /// be there.
    pub(crate) fn is_connected(&self, version: Version) -> bool {
        match version {
            Version::One => self.live.count() > 0,
            Version::Two => locked(&self.two)
                .as_ref()
                .is_some_and(|two| !two.sender.is_closed()),
        }
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> u32 {
        let two = self.is_connected(Version::Two);
        self.live.count().saturating_add(u32::from(two))
    }

    /// A connection that is ready now, without a wait.
    pub(crate) fn ready(self: &Arc<Self>, version: Version, now: Instant) -> Option<Lease> {
        match version {
            Version::One => self.ready_one(now),
            Version::Two => self.shared_two(now).map(Lease::again),
        }
    }

    fn ready_one(self: &Arc<Self>, now: Instant) -> Option<Lease> {
        // Only while nobody waits for a place is one to be had here.
        self.places.try_acquire().ok()?.forget();
        let place = Place(Arc::clone(self));
        loop {
            let idle = locked(&self.idle).pop()?;
            let is_quiet = now.saturating_duration_since(idle.used) > QUIET;
            if idle.connection.sender.is_closed()
                || (is_quiet && idle.connection.ear.hears_the_end())
            {
                continue;
            }
            if !idle.connection.sender.is_ready() {
                // Its task may not have seen yet that its last answer was read.
                locked(&self.idle).push(idle);
                return None;
            }
            let connection = idle.connection;
            return Some(Lease {
                line: Line::One(Owned { connection, place }),
                used_before: true,
            });
        }
    }

    /// A connection that is ready now or after a wait for one: dropping the future gives back what
    /// it holds.
    pub(crate) async fn lease(self: &Arc<Self>, version: Version, now: Instant) -> Result<Lease> {
        match version {
            Version::One => self.lease_one().await,
            Version::Two => self.lease_two(now).await,
        }
    }

    async fn lease_one(self: &Arc<Self>) -> Result<Lease> {
        match self.places.acquire().await {
            Ok(place) => place.forget(),
            Err(_) => return Err(Error::new(ErrorKind::Connect, "the pool is closed")),
        }
        let place = Place(Arc::clone(self));
        let idle = self.idle().await;
        let used_before = idle.is_some();
        let connection = match idle {
            Some(idle) => idle,
            None => self.connector.one(&self.address, &self.live).await?,
        };
        Ok(Lease {
            line: Line::One(Owned { connection, place }),
            used_before,
        })
    }

    /// The idle connection that was used last, if one still lives.
    async fn idle(&self) -> Option<One> {
        loop {
            let mut one = locked(&self.idle).pop()?.connection;
            if one.ear.hears_the_end() {
                continue;
            }
            let sender = &mut one.sender;
            // Its task may not have seen yet that its last answer was read.
            if sender.is_ready() || poll_fn(|cx| sender.poll_ready(cx)).await.is_ok() {
                return Some(one);
            }
        }
    }

    async fn lease_two(&self, now: Instant) -> Result<Lease> {
        if let Some(two) = self.shared_two(now) {
            return Ok(Lease::again(two));
        }
        let _alone = self.dialling.lock().await;
        if let Some(two) = self.shared_two(now) {
            return Ok(Lease::again(two));
        }
        let (sender, ear) = self.connector.two(&self.address).await?;
        let used = now;
        *locked(&self.two) = Some(Shared {
            sender: sender.clone(),
            ear,
            used,
        });
        Ok(Lease {
            line: Line::Two(sender),
            used_before: false,
        })
    }

    /// The HTTP/2 connection, if it lives. In a stream of calls its task learns of an end as soon as
    /// a look at the socket would.
    fn shared_two(&self, now: Instant) -> Option<Two> {
        let mut shared = locked(&self.two);
        let two = shared.as_mut()?;
        let is_quiet = now.saturating_duration_since(two.used) > QUIET;
        if two.sender.is_closed() || (is_quiet && two.ear.hears_the_end()) {
            *shared = None;
            return None;
        }
        two.used = now;
        Some(two.sender.clone())
    }

    /// Makes a connection that no call is to be sent over yet.
    pub(crate) async fn warm(self: &Arc<Self>, version: Version) -> Result<()> {
        match self.lease(version, Instant::now()).await?.line {
            Line::One(owned) => owned.put_back(),
            Line::Two(_) => {}
        }
        Ok(())
    }

    /// Closes what the node has closed, and what was idle for the ttl, [`SWEEPS`] of which are
    /// between then and `now`.
    pub(crate) fn sweep(&self, now: u32) {
        self.swept.store(now, Ordering::Relaxed);
        let is_old = |idle: &mut Idle| {
            idle.connection.sender.is_closed() || now.wrapping_sub(idle.since) > SWEEPS
        };
        let gone: Vec<Idle> = locked(&self.idle).extract_if(.., is_old).collect();
        // Outside of the lock: closing wakes tasks.
        drop(gone);
    }

    /// How long a sweeper is to wait between sweeps.
    pub(crate) fn sweep_every(keeping: Keeping) -> Duration {
        (keeping.ttl / SWEEPS).max(Duration::from_millis(100))
    }
}

impl Owned {
    /// Gives the connection back for the next call: its answer was read to the end.
    pub(crate) fn put_back(self) {
        let Self { connection, place } = self;
        if connection.sender.is_closed() {
            return;
        }
        let since = place.0.swept.load(Ordering::Relaxed);
        // Before the place is free, so that who takes the place finds it.
        let used = Instant::now();
        locked(&place.0.idle).push(Idle {
            connection,
            since,
            used,
        });
    }
}
