//! What this plugin says of itself, and what it takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use waypost_core::{Driver, OptionSpec, Profile, Registry, Result, Target};
use waypost_plugin_kit::OptionReader;

use crate::{FileRegistry, error};

pub(crate) const PROFILE: Profile = Profile {
    driver: "file",
    least_ttl: Duration::from_millis(100),
    slack: Duration::from_millis(500),
    writable: true,
    owned: false,
    tells_loss: true,
    native_watch: true,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// Longest ttl granted; beyond it a deadline could overflow the clock.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The file registry as a row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "file",
    summary: "in a directory of this machine; nothing to install",
    default_port: None,
    default_address: "$XDG_RUNTIME_DIR/waypost, else /tmp/waypost-<uid>",
    profile: PROFILE,
    options: &[OptionSpec {
        key: "relist",
        value: "DURATION",
        default: "10s",
        help: "how often to list the directory when nothing hints at a change",
    }],
    connect: |target| {
        Box::pin(std::future::ready(
            open(&target).map(|registry| Arc::new(registry) as Arc<dyn Registry>),
        ))
    },
};

/// Where the records are, and how they are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// The directory; `None` for the default one, which is refused when it is not safely ours.
    pub directory: Option<PathBuf>,
    /// How often to list the directory when nothing hints at a change (10 s).
    pub relist: Duration,
}

impl FileOptions {
    /// The default directory: `$XDG_RUNTIME_DIR/waypost`, else `waypost-<uid>` in the temporary
    /// directory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            directory: None,
            relist: Duration::from_secs(10),
        }
    }

    /// Sets the directory.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how often to list the directory when nothing hints at a change.
    #[must_use]
    pub const fn with_relist(mut self, relist: Duration) -> Self {
        self.relist = relist;
        self
    }
}

impl Default for FileOptions {
    fn default() -> Self {
        Self::new()
    }
}

fn open(target: &Target) -> Result<FileRegistry> {
    options(target).and_then(FileRegistry::open)
}

fn options(target: &Target) -> Result<FileOptions> {
    let reader = OptionReader::new(&DRIVER, target)?;
    let mut options = FileOptions::new();
    if let Some(relist) = reader.duration("relist")? {
        if relist < Duration::from_millis(100) {
            return Err(reader.fault("relist", &format!("{relist:?}"), "is below 100ms"));
        }
        options.relist = relist;
    }
    // `file:///run/x` has a path alone, `file://x/y` and an address given apart have a host too.
    let directory = match target.addresses() {
        [] => target.path().to_owned(),
        [one] => format!("{one}{}", target.path()),
        _ => return Err(error::several_addresses().with_driver(PROFILE.driver)),
    };
    if !directory.is_empty() {
        options.directory = Some(directory.into());
    }
    Ok(options)
}

/// The directory when none is named. A run-time directory that is not there, or is somebody
/// else's (as after `su`), is passed over.
pub(crate) fn default_directory() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|runtime| runtime.is_absolute() && is_owned(runtime, user))
        .map(|runtime| runtime.join("waypost"))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("waypost-{user}")))
}

fn is_owned(path: &Path, user: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

#[cfg(test)]
mod tests {
    use waypost_core::{ErrorKind, Origin};

    use super::*;

    fn parsed(registry: &str, address: Option<&str>) -> Result<FileOptions> {
        options(&Target::parse(registry, address, Origin::Code).expect(registry))
    }

    #[test]
    fn the_directory_is_the_address_or_the_path() {
        for (registry, address, directory) in [
            ("file", None, None),
            ("file://", None, None),
            ("file", Some("/run/x"), Some("/run/x")),
            ("file:///run/x", None, Some("/run/x")),
            ("file://x/y", None, Some("x/y")),
            ("file:///a%20b", None, Some("/a b")),
        ] {
            let options = parsed(registry, address).expect(registry);
            assert_eq!(
                options.directory,
                directory.map(PathBuf::from),
                "{registry}"
            );
            assert_eq!(options.relist, Duration::from_secs(10));
        }
        let slow = parsed("file:///x?relist=1m", None).expect("options");
        assert_eq!(slow.relist, Duration::from_secs(60));
    }

    #[test]
    fn wrong_targets_are_refused() {
        for (registry, address) in [
            ("file", Some("/a,/b")),
            ("file:///x?relist=0", None),
            ("file:///x?relst=1s", None),
        ] {
            let error = parsed(registry, address).expect_err(registry);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
