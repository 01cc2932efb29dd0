//! Reading what lives.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use waypost_core::{Instance, Result, WatchScope};

use super::record::{Miss, Record};
use super::{Spot, Store};
use crate::clock::{self, Moment};
use crate::config::PROFILE;
use crate::head::Owner;
use crate::{error, name};

/// What was found alive.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) instances: Vec<Arc<Instance>>,
    /// The first deadline among them.
    pub(crate) expires: Option<Moment>,
}

impl Found {
    fn take(&mut self, entry: &Entry, deadline: Moment) {
        if let Ok(instance) = &entry.content {
            self.instances.push(Arc::clone(instance));
            self.expires = Some(self.expires.map_or(deadline, |first| first.min(deadline)));
        }
    }
}

/// Decoded records, by directory and file. A file's content never changes but by a new file with
/// another owner or revision, so that its head tells whether it has to be decoded again.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<String, Known>>);

type Known = HashMap<String, Entry>;

#[derive(Debug)]
struct Entry {
    version: Version,
    content: Result<Arc<Instance>, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    owner: Owner,
    revision: u32,
    inode: u64,
    length: u64,
}

impl Cache {
    fn take(&self, service: &str) -> Known {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(service).unwrap_or_default()
    }

    fn put(&self, service: &str, known: Known) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(service.to_owned(), known);
    }
}

impl Store {
    /// Lists what lives in `scope`. Before a directory is read, `before` gets its name (empty for
    /// the root) and path: whoever watches it from then on misses nothing.
    pub(crate) fn read(
        &self,
        scope: &WatchScope,
        before: &mut dyn FnMut(&str, &Path),
    ) -> Result<Found> {
        self.place.trust()?;
        before("", self.place.root());
        let mut found = Found::default();
        match scope {
            WatchScope::Service(service) => {
                self.read_service(&name::directory(service), before, &mut found)?;
            }
            WatchScope::All => {
                for service in self.names(self.place.root())? {
                    self.read_service(&service, before, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn read_service(
        &self,
        service: &str,
        before: &mut dyn FnMut(&str, &Path),
        found: &mut Found,
    ) -> Result<()> {
        let path = self.place.service(service);
        let mut known = self.cache.take(service);
        if !self.is_service(&path)? {
            return Ok(());
        }
        before(service, &path);
        let now = clock::now();
        let mut dead = Vec::new();
        let mut still_known = Known::with_capacity(known.len());
        for file in self.names(&path)? {
            let spot = Spot {
                service: service.to_owned(),
                file,
            };
            match self.read_record(&spot, &mut known, now) {
                Ok(Read::Live(entry, deadline)) => {
                    found.take(&entry, deadline);
                    still_known.insert(spot.file, entry);
                }
                Ok(Read::Dead) => dead.push(spot),
                Err(miss) => self.pass_over(&spot, miss)?,
            }
        }
        self.cache.put(service, still_known);
        self.reap(service, &dead);
        Ok(())
    }

    fn is_service(&self, path: &Path) -> Result<bool> {
        match path.symlink_metadata() {
            Ok(there) if there.is_dir() => Ok(true),
            Ok(_) => {
                self.skip(path, "the file is no service's directory");
                Ok(false)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(error::system("look at", path, cause)),
        }
    }

    /// Goes on after a file that gave no record. But one that cannot be read just now must not
    /// pass for one that is gone.
    fn pass_over(&self, spot: &Spot, miss: Miss) -> Result<()> {
        let path = spot.path(&self.place);
        match miss {
            Miss::Gone => {}
            Miss::Junk(reason) => self.skip(&path, reason),
            Miss::Failed(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                self.skip(&path, "the file may not be read");
            }
            Miss::Failed(cause) => return Err(error::system("read", &path, cause)),
        }
        Ok(())
    }

    fn read_record(&self, spot: &Spot, known: &mut Known, now: Moment) -> Result<Read, Miss> {
        if !name::is_file(&spot.file) {
            return Err(Miss::Junk("the name of the file is no record's".to_owned()));
        }
        let record = Record::open(&spot.path(&self.place), false)?;
        if !record.head.is_live(&self.boot, now) {
            return Ok(Read::Dead);
        }
        let version = Version {
            owner: record.head.owner,
            revision: record.head.revision,
            inode: record.inode,
            length: record.length,
        };
        let entry = match known.remove(&spot.file) {
            Some(entry) if entry.version == version => entry,
            _ => {
                let content = match record.instance(spot) {
                    Ok(instance) => Ok(instance),
                    Err(Miss::Junk(reason)) => Err(reason),
                    Err(miss) => return Err(miss),
                };
                Entry { version, content }
            }
        };
        if let Err(reason) = &entry.content {
            self.skip(&spot.path(&self.place), reason.clone());
        }
        Ok(Read::Live(entry, record.head.deadline))
    }

    /// The names in a directory that are not hidden, each once: one that is replaced while the
    /// directory is read may be listed twice. A missing directory has none: nobody has registered.
    fn names(&self, path: &Path) -> Result<BTreeSet<String>> {
        let listed = match std::fs::read_dir(path) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(cause) => Err(cause),
        };
        let mut names = BTreeSet::new();
        for entry in listed.map_err(|cause| error::system("list", path, cause))? {
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with('.') => {}
                Ok(name) => drop(names.insert(name)),
                Err(_) => self.skip(&entry.path(), "the name of the file is no UTF-8"),
            }
        }
        Ok(names)
    }

    fn skip(&self, place: &Path, reason: impl Into<String>) {
        self.skipped
            .skip(PROFILE.driver, place.to_string_lossy(), reason);
    }
}

/// What a file says.
enum Read {
    Live(Entry, Moment),
    Dead,
}
