//! What is known of one record of ours.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;
use waypost_core::{Error, ErrorKind};

/// One record that this process wrote and means to keep, and whether it was lost.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The key in etcd.
    pub(crate) key: String,
    /// The lease that the key is attached to.
    pub(crate) lease: i64,
    /// The revision of our write; 0 while it is under way.
    revision: AtomicI64,
    lost: OnceLock<Error>,
    told: Notify,
}

impl Claim {
    pub(crate) fn new(key: String, lease: i64) -> Self {
        Self {
            key,
            lease,
            revision: AtomicI64::new(0),
            lost: OnceLock::new(),
            told: Notify::new(),
        }
    }

    /// The record was written at `revision`.
    pub(crate) fn written(&self, revision: i64) {
        self.revision.store(revision, Ordering::Release);
    }

    /// Whether the write was acknowledged.
    pub(crate) fn is_written(&self) -> bool {
        self.revision.load(Ordering::Acquire) != 0
    }

    /// At `revision` the key belonged to the lease `owner` (0: it was gone). The record is lost if
    /// that is not ours, unless it was written later.
    pub(crate) fn seen(&self, revision: i64, owner: i64) {
        let written = self.revision.load(Ordering::Acquire);
        if written != 0 && written < revision && owner != self.lease {
            self.disowned(owner);
        }
    }

    /// The key belongs to the lease `owner` and no longer to ours.
    pub(crate) fn disowned(&self, owner: i64) {
        self.lose(match owner {
            0 => "the record was deleted",
            _ => "the record is somebody else's by now",
        });
    }

    /// The record is lost, for `reason`.
    pub(crate) fn lose(&self, reason: &str) -> Error {
        let error = self
            .lost
            .get_or_init(|| Error::new(ErrorKind::LeaseLost, reason))
            .clone();
        self.told.notify_waiters();
        error
    }

    /// Why the record is lost, if it is.
    pub(crate) fn lost(&self) -> Option<Error> {
        self.lost.get().cloned()
    }

    /// Resolves when the record is lost.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn until_lost(&self) -> Error {
        loop {
            let mut told = std::pin::pin!(self.told.notified());
            // Listening before looking: a loss between the two is heard.
            told.as_mut().enable();
            if let Some(error) = self.lost() {
                return error;
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_happens_after_our_write_is_a_loss() {
        let claim = Claim::new("/k".to_owned(), 1);
        claim.seen(5, 0);
        assert!(claim.lost().is_none(), "the write is under way");
        claim.written(7);
        claim.seen(6, 0);
        claim.seen(7, 2);
        claim.seen(8, 1);
        assert!(
            claim.lost().is_none(),
            "a former owner's record, and our own update"
        );
        let waiter = claim.until_lost();
        let mut waiter = std::pin::pin!(waiter);
        assert!(futures_util::poll!(&mut waiter).is_pending());
        claim.seen(9, 2);
        assert_eq!(waiter.await.kind(), ErrorKind::LeaseLost);
        assert_eq!(claim.until_lost().await.kind(), ErrorKind::LeaseLost);
    }
}
