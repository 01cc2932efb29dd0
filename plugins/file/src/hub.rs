//! Who wants to hear of what.
//!
//! One inotify instance serves a whole process, since a user has few of them (128 by default). A
//! thread reads it, so that no more is asked of the runtime than that it runs.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use waypost_core::WatchScope;
use waypost_plugin_kit::Hinter;

use crate::kernel::{Heard, Hint, Kernel};
use crate::name;
use crate::store::Spot;

/// What somebody wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interest {
    All,
    /// The directory of a service.
    Service(String),
    /// One file in it.
    Record(String, String),
}

impl From<&WatchScope> for Interest {
    fn from(scope: &WatchScope) -> Self {
        match scope {
            WatchScope::All => Self::All,
            WatchScope::Service(service) => Self::Service(name::directory(service)),
        }
    }
}

impl From<&Spot> for Interest {
    fn from(spot: &Spot) -> Self {
        Self::Record(spot.service.clone(), spot.file.clone())
    }
}

/// Reads the kernel's hints and passes them on. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Hub {
    kernel: Arc<Kernel>,
    routes: Arc<Mutex<Routes>>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Routes {
    /// Which directory a descriptor stands for; the root's name is empty.
    directories: HashMap<i32, String>,
    interests: BTreeMap<Interest, Vec<Hinter>>,
}

impl Hub {
    pub(crate) fn start() -> io::Result<Self> {
        let kernel = Arc::new(Kernel::open()?);
        let routes: Arc<Mutex<Routes>> = Arc::default();
        let (source, ways) = (Arc::clone(&kernel), Arc::clone(&routes));
        let thread = thread::Builder::new()
            .name("waypost-file".to_owned())
            .spawn(move || {
                if let Err(cause) = source.read(|hint| lock(&ways).take(hint)) {
                    tracing::warn!(error = %cause, "hints about the directory have ended");
                }
                // Whoever listens lists once more, and learns that there are no hints.
                lock(&ways).hint_all();
            })?;
        Ok(Self {
            kernel,
            routes,
            thread,
        })
    }

    /// Whether it still works.
    pub(crate) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Listens to a directory, as often as one likes; `false` when nothing will be heard of it.
    pub(crate) fn listen(&self, directory: &str, path: &Path) -> bool {
        // Locked first: a hint must not come before its descriptor is known.
        let mut routes = lock(&self.routes);
        match self.kernel.listen(path) {
            Heard::As(descriptor) => {
                routes.directories.insert(descriptor, directory.to_owned());
                self.is_alive()
            }
            // The root tells when a service's directory comes; nobody tells of the root.
            Heard::Missing => !directory.is_empty(),
            Heard::No => false,
        }
    }

    /// Hints to `hinter` whenever something of `interest` changes, until nobody reads it.
    pub(crate) fn subscribe(&self, interest: Interest, hinter: Hinter) {
        let mut routes = lock(&self.routes);
        let hinters = routes.interests.entry(interest).or_default();
        hinters.retain(|hinter| !hinter.is_closed());
        hinters.push(hinter);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kernel.end();
    }
}

impl Routes {
    fn take(&mut self, hint: Hint<'_>) {
        let (directory, name) = match hint {
            Hint::Changed(descriptor, name) => (self.directories.get(&descriptor).cloned(), name),
            Hint::Ended(descriptor) => (self.directories.remove(&descriptor), ""),
            Hint::Lost => return self.hint_all(),
        };
        match directory.as_deref() {
            None => {}
            // The root itself went away or came back.
            Some("") if name.is_empty() => self.hint_all(),
            // Our drafts.
            Some("") if name.starts_with('.') => {}
            Some("") => {
                self.hint(&Interest::All);
                self.hint(&Interest::Service(name.to_owned()));
            }
            Some(directory) => {
                self.hint(&Interest::All);
                self.hint(&Interest::Service(directory.to_owned()));
                self.hint(&Interest::Record(directory.to_owned(), name.to_owned()));
            }
        }
    }

    fn hint(&mut self, interest: &Interest) {
        let Some(hinters) = self.interests.get_mut(interest) else {
            return;
        };
        hinters.retain(|hinter| !hinter.is_closed());
        hinters.iter().for_each(Hinter::hint);
        if hinters.is_empty() {
            self.interests.remove(interest);
        }
    }

    fn hint_all(&mut self) {
        self.interests.values().flatten().for_each(Hinter::hint);
    }
}

fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}
