//! A wall clock of an agent's own, which can be moved while it runs.
//!
//! Linux has no namespace for the wall clock, and moving the machine's would move everybody's. So
//! a small library that answers in its place is preloaded into the process. It is compiled when it
//! is needed, by the C compiler that Rust links with anyway.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{Result, ensure};

const SOURCE: &str = include_str!("clock.c");
/// How far the clock may be from where it was put, in seconds: what a busy machine takes to ask.
const NEAR: u64 = 60;

/// The clock of the processes that are started with [`Clock::environment`].
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
    offset: File,
}

impl Clock {
    /// Makes a clock that tells the right time.
    ///
    /// # Errors
    /// When there is no C compiler, or it refuses.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("clock.c");
        std::fs::write(&source, SOURCE)?;
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let compiled = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library(folder.path()), &source])
            .output()
            .await
            .map_err(|error| format!("{compiler}: {error}"))?;
        ensure(compiled.status.success(), || {
            let told = String::from_utf8_lossy(&compiled.stderr);
            format!("{compiler} refuses the clock: {told}")
        })?;
        let offset = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(folder.path().join("offset"))?;
        offset.write_all_at(&0_i64.to_ne_bytes(), 0)?;
        Ok(Self { folder, offset })
    }

    /// The variables that a process has to be started with.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let folder = self.folder.path();
        vec![
            ("LD_PRELOAD", library(folder)),
            ("WAYPOST_TEST_CLOCK", folder.join("offset")),
        ]
    }

    /// Moves the clock to so many seconds from the right time, and asks a process what it is.
    ///
    /// # Errors
    /// When the clock does not follow.
    ///
    /// # Cancel safety
    /// It may or may not have been moved.
    pub async fn set(&self, seconds: i64) -> Result<()> {
        // In place: whoever has mapped the file sees it at once.
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0)?;
        let told = Command::new("date")
            .arg("+%s")
            .envs(self.environment())
            .output()
            .await?;
        let told: u64 = String::from_utf8_lossy(&told.stdout).trim().parse()?;
        let right = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let wanted = right.saturating_add_signed(seconds);
        ensure(told.abs_diff(wanted) <= NEAR, || {
            format!("the clock tells {told}, not {wanted}")
        })
    }

    /// Whether the process `pid` goes by this clock.
    #[must_use]
    pub fn is_of(&self, pid: u32) -> bool {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        maps.contains(&*library(self.folder.path()).to_string_lossy())
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("clock.so")
}
