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
    instances: Vec<Record>,
}

/// A record that cannot be read hides no other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Good(Instance),
    Bad(serde::de::IgnoredAny),
}

/// One file for one scope. Written beside and renamed, so that a reader never sees half of it.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    scope: WatchScope,
    writing: Option<JoinHandle<()>>,
}

impl Disk {
    pub(super) fn new(folder: &Path, scope: &WatchScope) -> Self {
        let mut name = String::new();
        for byte in scope.to_string().bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
                name.push(char::from(byte));
            } else {
                name.push_str(&format!("%{byte:02x}"));
            }
        }
        Self {
            path: folder.join(format!("{name}.snapshot.json")),
            scope: scope.clone(),
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
            if let Err(error) = write(&path, &scope, &instances) {
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

fn write(path: &Path, scope: &WatchScope, instances: &[Arc<Instance>]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::create(&beside)?;
    file.write_all(&render(scope, instances)?)?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

/// A copy of `instances`, which [`parse`] reads back.
pub(crate) fn render(scope: &WatchScope, instances: &[Arc<Instance>]) -> io::Result<Vec<u8>> {
    let written = Copied {
        scope: scope.to_string(),
        written: SystemTime::now(),
        instances: instances.iter().map(|instance| &**instance).collect(),
    };
    Ok(serde_json::to_vec(&written)?)
}

fn read(path: &Path, scope: &WatchScope) -> io::Result<Vec<Instance>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    parse(&bytes, scope)
}

/// The instances of a copy. It is believed no more than the registry is: what breaks a rule or is
/// not of the scope is left out.
pub(crate) fn parse(bytes: &[u8], scope: &WatchScope) -> io::Result<Vec<Instance>> {
    let read: Remembered = serde_json::from_slice(bytes)?;
    if read.scope != scope.to_string() {
        return Err(io::Error::other(format!(
            "it is a snapshot of {:?}, not of {scope}",
            read.scope
        )));
    }
    let written = read.instances.len();
    let good = |record| match record {
        Record::Good(one) if scope.covers(&one.service) && one.check_limits().is_ok() => Some(one),
        Record::Good(_) | Record::Bad(_) => None,
    };
    let instances: Vec<Instance> = read.instances.into_iter().filter_map(good).collect();
    let skipped = written - instances.len();
    if skipped > 0 {
        tracing::warn!(%scope, skipped, "skipped records of the disk snapshot");
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::instance;

    #[test]
    fn what_is_written_is_read_and_what_breaks_a_rule_hides_no_good_one() {
        let all: Vec<_> = ["a", "b"].map(|id| Arc::new(instance("orders", id))).into();
        let scope = WatchScope::Service(all[0].service.clone());
        let bytes = render(&scope, &all).expect("written");
        let read = parse(&bytes, &scope).expect("read");
        assert_eq!(read.iter().collect::<Vec<_>>(), [&*all[0], &*all[1]]);

        let text = String::from_utf8(bytes).expect("text");
        let port = all[0].node.address.port().to_string();
        let other = serde_json::to_string(&instance("users", "c")).expect("json");
        for bad in [
            "null".to_owned(),
            "{\"service\":7}".to_owned(),
            "[[]]".to_owned(),
            other,
        ] {
            let text = text.replace("\"instances\":[", &format!("\"instances\":[{bad},"));
            let read = parse(text.as_bytes(), &scope).expect("read");
            assert_eq!(read.len(), 2, "{bad}");
        }
        let undialled = text.replacen(&format!(":{port}\""), ":0\"", 1);
        assert_eq!(parse(undialled.as_bytes(), &scope).expect("read").len(), 1);
        let crowded = text.replacen(
            "\"metadata\":null",
            &format!("\"metadata\":{{\"k\":\"{}\"}}", "x".repeat(5000)),
            1,
        );
        assert_eq!(parse(crowded.as_bytes(), &scope).expect("read").len(), 1);
        assert!(parse(text.as_bytes(), &WatchScope::All).is_err());
        for junk in ["", "[", "null", "{}", &"[".repeat(10_000)] {
            assert!(parse(junk.as_bytes(), &scope).is_err());
        }
    }
}
