//! A client's connections: a pool for each address, whatever nodes stand for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;
use waypost_core::Address;

use crate::connect::Connector;
use crate::pool::{Keeping, Pool};

/// The pools of a client. Several entries of a registry may name one address, in one service or in
/// several: what is bounded is the number of connections to the server behind it.
#[derive(Debug)]
pub(crate) struct Pools {
    connector: Connector,
    keeping: Keeping,
    opened: Instant,
    /// The age at the last sweep.
    swept: AtomicU32,
    /// A pool lives as long as a node that stands for its address, or a call.
    by_address: Mutex<HashMap<Address, Weak<Pool>>>,
}

impl Pools {
    pub(crate) fn new(connector: Connector, keeping: Keeping) -> Self {
        Self {
            connector,
            keeping,
            opened: Instant::now(),
            swept: AtomicU32::new(0),
            by_address: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Address, Weak<Pool>>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of `address`.
    pub(crate) fn of(&self, address: &Address) -> Arc<Pool> {
        let mut known = self.known();
        if let Some(pool) = known.get(address).and_then(Weak::upgrade) {
            return pool;
        }
        let (connector, now) = (self.connector.clone(), self.age());
        let pool = Pool::new(address.clone(), connector, self.keeping, now);
        known.insert(address.clone(), Arc::downgrade(&pool));
        pool
    }

    /// Closes idle connections that are closed by the other side or too old. Who follows a service
    /// calls it as often as [`Pool::sweep_every`] says; of several, one sweeps.
    pub(crate) fn sweep(&self) {
        let now = self.age();
        if self.swept.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let mut alive = Vec::new();
        self.known().retain(|_, pool| {
            let pool = pool.upgrade();
            let lives = pool.is_some();
            alive.extend(pool);
            lives
        });
        // Outside of the lock: closing wakes tasks.
        for pool in alive {
            pool.sweep(now);
        }
    }

    /// How many times between sweeps have passed: the clock of idle connections.
    fn age(&self) -> u32 {
        let every = Pool::sweep_every(self.keeping).as_nanos();
        u32::try_from(self.opened.elapsed().as_nanos() / every).unwrap_or(u32::MAX)
    }
}
