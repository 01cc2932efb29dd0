//! Removing what is dead.

use std::time::Duration;

use super::record::Record;
use super::{Spot, Store};
use crate::clock;

/// How long a dead record is left alone. Nobody is served a dead record, so this is tidying up,
/// and a renewal that crosses its deadline is not made a race of.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// Most files removed while all who register wait.
const AT_ONCE: usize = 100;

impl Store {
    /// Removes dead records, looked at again while nobody can replace them, and their directory
    /// with the last one. Only if that needs no waiting; whoever lists next tries again.
    pub(super) fn reap(&self, service: &str, dead: &[Spot]) {
        let Some(_alone) = (!dead.is_empty()).then(|| self.place.try_lock()).flatten() else {
            return;
        };
        let now = clock::now();
        let left_alone = |record: &Record| {
            record.head.boot == self.boot.as_str()
                && now < clock::after(record.head.deadline, LEFT_ALONE)
        };
        for spot in dead.iter().take(AT_ONCE) {
            let path = spot.path(&self.place);
            match Record::open(&path, false) {
                Ok(record) if left_alone(&record) => {}
                // Who cannot remove it can do without.
                Ok(_) => drop(std::fs::remove_file(path)),
                Err(_) => {}
            }
        }
        self.tidy(service);
    }

    /// Removes the directory of a service if it is empty, and drafts that nobody will finish:
    /// whoever writes one holds the lock that we hold alone.
    pub(super) fn tidy(&self, service: &str) {
        // Fails on a directory that is not empty, which is the point.
        let _ = std::fs::remove_dir(self.place.service(service));
        for draft in std::fs::read_dir(self.place.drafts()).into_iter().flatten() {
            let _ = draft.map(|draft| std::fs::remove_file(draft.path()));
        }
    }
}
