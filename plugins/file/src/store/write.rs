//! Writing, renewing and removing records.
//!
//! A record's file is replaced by renaming a whole one over it, never written in parts, but for
//! the deadline. A renewal takes no lock: it can neither bring back a file that was removed nor
//! touch one that took its place, since it writes into the file that it has read.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use waypost_core::{Instance, Result};

use super::place::Lock;
use super::record::{Miss, Record};
use super::{Spot, Store};
use crate::clock;
use crate::error;
use crate::head::{Head, Owner};

impl Store {
    /// Writes a record under a new owner, over whatever stands in its place.
    pub(crate) fn register(&self, spot: &Spot, record: &[u8], ttl: Duration) -> Result<Owner> {
        self.place.make()?;
        let _shared = self.place.lock(Lock::Shared)?;
        let owner = fastrand::u128(..);
        self.put(spot, record, owner, 0, ttl)?;
        Ok(owner)
    }

    /// Writes a new deadline, if the record is still `owner`'s and lives.
    pub(crate) fn renew(&self, spot: &Spot, owner: Owner, ttl: Duration) -> Result<bool> {
        let Some(record) = self.owned(spot, owner, true)? else {
            return Ok(false);
        };
        record
            .set_deadline(clock::after(clock::now(), ttl))
            .map_err(|cause| error::system("renew", &spot.path(&self.place), cause))?;
        // Stopped for long between looking and writing: others may have taken it for dead.
        Ok(record.head.is_live(&self.boot, clock::now()))
    }

    /// Writes new content, which also renews, if the record is still `owner`'s and lives.
    /// Unchanged content writes nothing.
    pub(crate) fn update(
        &self,
        spot: &Spot,
        owner: Owner,
        instance: &Instance,
        record: &[u8],
        ttl: Duration,
    ) -> Result<bool> {
        let Some(_alone) = self.lock_alone()? else {
            return Ok(false);
        };
        let Some(there) = self.owned(spot, owner, false)? else {
            return Ok(false);
        };
        if there.instance(spot).is_ok_and(|known| *known == *instance) {
            return Ok(true);
        }
        let revision = there.head.revision.wrapping_add(1);
        self.put(spot, record, owner, revision, ttl)?;
        Ok(true)
    }

    /// Removes a record, if it is still `owner`'s.
    pub(crate) fn revoke(&self, spot: &Spot, owner: Owner) -> Result<()> {
        let Some(_alone) = self.lock_alone()? else {
            return Ok(());
        };
        match self.open(spot, false)? {
            Some(record) if record.head.owner == owner => self.remove(spot),
            _ => Ok(()),
        }
    }

    /// Removes a record, whoever owns it, and whatever else stands in its place.
    pub(crate) fn deregister(&self, spot: &Spot) -> Result<()> {
        match self.lock_alone()? {
            Some(_alone) => self.remove(spot),
            None => Ok(()),
        }
    }

    /// Whether the record is still `owner`'s and lives.
    pub(crate) fn holds(&self, spot: &Spot, owner: Owner) -> Result<bool> {
        self.owned(spot, owner, false)
            .map(|record| record.is_some())
    }

    /// The lock for oneself; `None` when there is no directory, hence no record.
    fn lock_alone(&self) -> Result<Option<std::fs::File>> {
        self.place.trust()?;
        if !self.place.root().exists() {
            return Ok(None);
        }
        self.place.lock(Lock::Alone).map(Some)
    }

    fn owned(&self, spot: &Spot, owner: Owner, write: bool) -> Result<Option<Record>> {
        let now = clock::now();
        let ours =
            |record: &Record| record.head.owner == owner && record.head.is_live(&self.boot, now);
        Ok(self.open(spot, write)?.filter(ours))
    }

    /// The record in a place, if there is one.
    fn open(&self, spot: &Spot, write: bool) -> Result<Option<Record>> {
        let path = spot.path(&self.place);
        match Record::open(&path, write) {
            Ok(record) => Ok(Some(record)),
            Err(Miss::Gone | Miss::Junk(_)) => Ok(None),
            Err(Miss::Failed(cause)) => Err(error::system("open", &path, cause)),
        }
    }

    fn put(
        &self,
        spot: &Spot,
        record: &[u8],
        owner: Owner,
        revision: u32,
        ttl: Duration,
    ) -> Result<()> {
        self.place.make_service(&spot.service)?;
        let head = Head {
            boot: self.boot.as_str().to_owned(),
            owner,
            revision,
            ttl: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            deadline: clock::after(clock::now(), ttl),
        };
        let (draft, path) = (self.place.draft(), spot.path(&self.place));
        let written = write(&draft, &head.before(record))
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|cause| error::system("write", &path, cause));
        if written.is_err() {
            // Left to the next who tidies up if this fails too.
            let _ = std::fs::remove_file(&draft);
        }
        written
    }

    fn remove(&self, spot: &Spot) -> Result<()> {
        let path = spot.path(&self.place);
        match std::fs::remove_file(&path) {
            Ok(()) => self.tidy(&spot.service),
            Err(cause) if is_absent(&cause) => {}
            Err(cause) => return Err(error::system("remove", &path, cause)),
        }
        Ok(())
    }
}

fn is_absent(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644);
    options.open(path)?.write_all(bytes)
}
