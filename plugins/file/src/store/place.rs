//! The directory itself: made, trusted, locked.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use waypost_core::Result;

use crate::{config, error};

/// Files on their way to their name. Watchers look at services' directories only, so that they
/// hear of a record once it is whole.
const DRAFTS: &str = ".drafts";

/// The root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    root: PathBuf,
    /// Nobody chose it, so nobody has checked that it is safe.
    unchosen: bool,
}

impl Place {
    /// The directory that was chosen, else the default one.
    pub(crate) fn new(chosen: Option<PathBuf>) -> Self {
        Self {
            unchosen: chosen.is_none(),
            root: chosen.unwrap_or_else(config::default_directory),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn service(&self, service: &str) -> PathBuf {
        self.root.join(service)
    }

    /// A fresh name for a file that is being written.
    pub(crate) fn draft(&self) -> PathBuf {
        let random = fastrand::u128(..);
        self.drafts().join(format!("{random:032x}"))
    }

    pub(crate) fn drafts(&self) -> PathBuf {
        self.root.join(DRAFTS)
    }

    /// Makes the root with room for drafts, for its owner alone.
    pub(crate) fn make(&self) -> Result<()> {
        make(&self.root, true)?;
        self.trust()?;
        self.make_inner(&self.drafts())
    }

    /// Makes the directory of a service.
    pub(crate) fn make_service(&self, service: &str) -> Result<()> {
        let path = self.service(service);
        self.make_inner(&path)?;
        // A link could lead the record anywhere.
        match path.symlink_metadata() {
            Ok(found) if !found.is_dir() => Err(error::not_a_directory(&path)),
            _ => Ok(()),
        }
    }

    /// Makes a directory in the root, for those to whom the root is open: whoever chose a directory
    /// that several users share wants them to see each other.
    fn make_inner(&self, path: &Path) -> Result<()> {
        if make(path, false)? {
            let open_to = self.root.metadata().map(|root| root.permissions());
            open_to
                .and_then(|open_to| std::fs::set_permissions(path, open_to))
                .map_err(|cause| error::system("open up", path, cause))?;
        }
        Ok(())
    }

    /// Refuses a default directory into which somebody else could have put, or could put, files:
    /// the temporary directory is everybody's.
    pub(crate) fn trust(&self) -> Result<()> {
        if !self.unchosen {
            return Ok(());
        }
        let found = match self.root.symlink_metadata() {
            Ok(found) => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(error::system("look at", &self.root, cause)),
        };
        let user = rustix::process::geteuid().as_raw();
        match distrust(found.is_dir(), found.uid(), found.mode(), user) {
            Some(why) => Err(error::not_trusted(&self.root, why)),
            None => Ok(()),
        }
    }

    /// Waits for the lock of the whole directory: what reads before it removes or replaces holds
    /// it alone, what only adds shares it. It ends when the file is dropped.
    pub(crate) fn lock(&self, lock: Lock) -> Result<File> {
        loop {
            let file = self.open_root()?;
            let locked = match lock {
                Lock::Shared => file.lock_shared(),
                Lock::Alone => file.lock(),
            };
            locked.map_err(|cause| error::system("lock", &self.root, cause))?;
            if self.is_root(&file) {
                return Ok(file);
            }
            // Somebody removed the directory meanwhile; the lock of what is gone locks nothing.
            self.make()?;
        }
    }

    /// The lock for oneself, if nobody holds it and the directory is there.
    pub(crate) fn try_lock(&self) -> Option<File> {
        let file = self.open_root().ok()?;
        file.try_lock().ok()?;
        self.is_root(&file).then_some(file)
    }

    fn open_root(&self) -> Result<File> {
        File::open(&self.root).map_err(|cause| error::system("open", &self.root, cause))
    }

    fn is_root(&self, file: &File) -> bool {
        let same = |there: &std::fs::Metadata| {
            file.metadata()
                .is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        self.root.metadata().is_ok_and(|there| same(&there))
    }
}

/// How to hold the directory's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Shared,
    Alone,
}

/// Makes a directory for its owner alone, and tells whether it was not there.
fn make(path: &Path, parents: bool) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    match DirBuilder::new()
        .mode(0o700)
        .recursive(parents)
        .create(path)
    {
        Ok(()) => Ok(true),
        // Somebody else was faster.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            Err(error::not_a_directory(path))
        }
        Err(cause) => Err(error::system("make the directory", path, cause)),
    }
}

fn distrust(is_dir: bool, owner: u32, mode: u32, user: u32) -> Option<&'static str> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    if !is_dir {
        Some("is not a directory")
    } else if owner != user {
        Some("belongs to another user")
    } else if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        Some("can be written to by other users")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_default_directory_has_to_be_safely_ours() {
        assert_eq!(distrust(true, 7, 0o40700, 7), None);
        assert_eq!(distrust(true, 7, 0o41777, 7), None);
        for (is_dir, owner, mode) in [(false, 7, 0o700), (true, 8, 0o700), (true, 7, 0o777)] {
            assert!(
                distrust(is_dir, owner, mode, 7).is_some(),
                "{owner} {mode:o}"
            );
        }
    }

    #[test]
    fn a_directory_is_made_for_its_owner_alone() {
        let temp = tempfile::tempdir().expect("dir");
        let place = Place::new(Some(temp.path().join("a/b")));
        place.make().expect("make");
        place.make().expect("make again");
        let mode = place
            .root()
            .metadata()
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_is_made_in_a_shared_directory_is_as_open_as_it() {
        let temp = tempfile::tempdir().expect("dir");
        let shared = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(temp.path(), shared).expect("open up");
        let place = Place::new(Some(temp.path().to_owned()));
        place.make().expect("make");
        place.make_service("orders").expect("make");
        for path in [place.drafts(), place.service("orders")] {
            let mode = path.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o7777, 0o1777, "{}", path.display());
        }
    }

    #[test]
    fn a_file_in_its_place_is_named() {
        let temp = tempfile::tempdir().expect("dir");
        let path = temp.path().join("file");
        std::fs::write(&path, "").expect("write");
        let error = Place::new(Some(path.clone())).make().expect_err("a file");
        assert_eq!(
            error.to_string(),
            format!("{} is not a directory", path.display())
        );
    }

    #[test]
    fn one_who_holds_the_lock_alone_keeps_all_others_out() {
        let temp = tempfile::tempdir().expect("dir");
        let place = Place::new(Some(temp.path().to_owned()));
        let shared = place.lock(Lock::Shared).expect("lock");
        drop(place.lock(Lock::Shared).expect("two may share"));
        assert!(place.try_lock().is_none());
        drop(shared);
        assert!(place.try_lock().is_some());
    }
}
