//! A copy of a followed set on disk, for a cold start while the registry is down.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{Instance, WatchScope};

/// Largest copy that is read back.
const MOST_BYTES: u64 = 256 << 20;

#[derive(Serialize)]
struct Copied<'a> {
    scope: String,
    written: SystemTime,
    instances: Vec<&'a Instance>,
}

#[derive(Deserialize)]
struct Remembered {
    scope: String,
    instances: Vec<Instance>,
}

/// One file for one scope. Written beside and renamed, so that a reader never sees half of it.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    scope: String,
    writing: Option<JoinHandle<()>>,
}

impl Disk {
    pub(super) fn new(folder: &Path, scope: &WatchScope) -> Self {
        let scope = scope.to_string();
        let mut name = String::new();
        for byte in scope.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("%{byte:02x}"));
            }
        }
        Self {
            path: folder.join(format!("{name}.snapshot.json")),
            scope,
            writing: None,
        }
    }

    /// Begins to write `instances`, unless the last write is still under way; tells whether it
    /// did. A failed write is logged: the copy is a help, not a promise.
    pub(super) fn save(&mut self, instances: Vec<Arc<Instance>>) -> bool {
        if self
            .writing
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return false;
        }
        let (path, scope) = (self.path.clone(), self.scope.clone());
        self.writing = Some(spawn_blocking(move || {
            let written = Copied {
                scope,
                written: SystemTime::now(),
                instances: instances.iter().map(|instance| &**instance).collect(),
            };
            if let Err(error) = write(&path, &written) {
                tracing::warn!(path = %path.display(), %error, "could not write the disk snapshot");
            }
        }));
        true
    }

    /// Reads the copy, if there is one that can be believed.
    pub(super) async fn load(&self) -> Option<Vec<Instance>> {
        let (path, scope) = (self.path.clone(), self.scope.clone());
        let shown = path.display().to_string();
        let read = spawn_blocking(move || read(&path, &scope)).await;
        match read {
            Ok(Ok(instances)) => Some(instances),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(Err(error)) => {
                tracing::warn!(path = shown, %error, "could not read the disk snapshot");
                None
            }
            Err(_) => None,
        }
    }
}

fn write(path: &Path, written: &Copied<'_>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(written)?)?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

fn read(path: &Path, scope: &str) -> io::Result<Vec<Instance>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let read: Remembered = serde_json::from_slice(&bytes)?;
    if read.scope != scope {
        return Err(io::Error::other(format!(
            "it is a snapshot of {:?}, not of {scope:?}",
            read.scope
        )));
    }
    Ok(read.instances)
}
