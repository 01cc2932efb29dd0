//! Whose a record is.
//!
//! An agent keeps no owner, so one is kept in the record's metadata: a random name a registry value
//! and the number of the write. Within the process, of several leases of one key the latest holds.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use waypost_core::InstanceKey;

/// The metadata key of the owner.
pub(crate) const OWNER: &str = "waypost-owner";

/// Who wrote a record, and with which of its writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) process: String,
    pub(crate) number: u64,
}

impl Owner {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (process, number) = text.rsplit_once('-')?;
        Some(Self {
            process: process.to_owned(),
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process, self.number)
    }
}

/// What this registry value owns.
#[derive(Debug)]
pub(crate) struct Claims {
    process: String,
    writes: AtomicU64,
    held: Mutex<HashMap<InstanceKey, watch::Sender<()>>>,
}

impl Claims {
    pub(crate) fn new() -> Self {
        Self {
            process: format!("{:016x}", fastrand::u64(..)),
            writes: AtomicU64::new(0),
            held: Mutex::default(),
        }
    }

    /// The owner of the next write.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            process: self.process.clone(),
            number: self.writes.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether `owner` is this registry value.
    pub(crate) fn is_ours(&self, owner: Option<&Owner>) -> bool {
        owner.is_some_and(|owner| owner.process == self.process)
    }

    /// Claims a key; whoever held it before has lost it.
    pub(crate) fn claim(self: &Arc<Self>, key: InstanceKey) -> Claim {
        let (sender, held) = watch::channel(());
        self.lock().insert(key.clone(), sender);
        Claim {
            claims: Arc::clone(self),
            key,
            held,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceKey, watch::Sender<()>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim of one lease on a key.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    key: InstanceKey,
    held: watch::Receiver<()>,
}

impl Claim {
    pub(crate) fn key(&self) -> &InstanceKey {
        &self.key
    }

    /// Whether no later lease of this process has claimed the key.
    pub(crate) fn stands(&self) -> bool {
        self.held.has_changed().is_ok()
    }

    /// Resolves when a later lease of this process claims the key.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn lost(&self) {
        let mut held = self.held.clone();
        // Nothing is ever sent: the channel closes with the claim.
        while held.changed().await.is_ok() {}
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.lock();
        if held
            .get(&self.key)
            .is_some_and(|sender| sender.subscribe().same_channel(&self.held))
        {
            held.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use waypost_core::{NodeId, ServiceName};

    use super::*;

    fn key() -> InstanceKey {
        let service = ServiceName::new("orders").expect("name");
        InstanceKey::new(service, NodeId::new("orders-1").expect("id"))
    }

    #[test]
    fn an_owner_is_read_back() {
        let claims = Claims::new();
        let owner = claims.owner();
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner.clone()));
        assert!(claims.is_ours(Some(&owner)));
        assert!(claims.owner().number > owner.number);
        assert!(!Claims::new().is_ours(Some(&owner)) && !claims.is_ours(None));
        for odd in ["", "x", "x-", "x-y"] {
            assert_eq!(Owner::parse(odd), None);
        }
    }

    #[test]
    fn the_latest_claim_of_a_key_holds_and_nothing_is_left_of_it() {
        let claims = Arc::new(Claims::new());
        let former = claims.claim(key());
        assert!(former.stands() && former.lost().now_or_never().is_none());
        let later = claims.claim(key());
        assert!(!former.stands() && former.lost().now_or_never().is_some());
        drop(former);
        assert!(later.stands());
        drop(later);
        assert!(claims.lock().is_empty());
    }
}
