//! The house's one suite, on a directory a namespace.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tempfile::TempDir;
use waypost_core::{Error, Profile, Registry, Result, Target};
use waypost_file::DRIVER;
use waypost_testkit::{Cut, Missing, Planted, Subject, async_trait, main as run};

struct Directories(TempDir);

impl Directories {
    fn path(&self, namespace: &str) -> PathBuf {
        self.0.path().join(namespace)
    }
}

#[async_trait]
impl Subject for Directories {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let path = self.path(namespace).to_string_lossy().into_owned();
        (DRIVER.connect)(Target::new("file")?.with_addresses([path])).await
    }

    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        let directory = self.path(namespace).join(service);
        let draft = directory.join(format!(".{node}"));
        let file = match bytes.strip_prefix(b"{") {
            Some(fields) => [&lease(), fields].concat(),
            None => bytes.to_vec(),
        };
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&draft, file))
            .and_then(|()| fs::rename(&draft, directory.join(format!("{node}.json"))))
            .map_err(|cause| Error::unavailable("cannot plant").with_source(cause))?;
        Ok(Planted::Done)
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        if cut == Cut::Silence {
            return Ok(Planted::Unsupported("a directory does not fall silent"));
        }
        let path = self.path(namespace);
        fs::create_dir_all(&path)
            .and_then(|()| fs::rename(&path, path.with_extension("away")))
            .and_then(|()| fs::write(&path, ""))
            .map_err(|cause| Error::unavailable("cannot cut").with_source(cause))?;
        Ok(Planted::Done)
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        let path = self.path(namespace);
        fs::remove_file(&path)
            .and_then(|()| fs::rename(path.with_extension("away"), &path))
            .map_err(|cause| Error::unavailable("cannot mend").with_source(cause))
    }
}

/// A lease as the registry writes it, that lives as long as this machine.
fn lease() -> Vec<u8> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let (boot, owner, deadline) = (boot.trim(), fastrand::u128(..), u64::MAX);
    format!(
        r#"{{"waypost":{{"boot":"{boot}","owner":"{owner:032x}","revision":"00000000","ttl":"{ttl:016}","deadline":"{deadline:020}","confirm":"{deadline:020}"}},"#,
        ttl = 60_000
    )
    .into_bytes()
}

fn main() -> ExitCode {
    run(async || {
        let directory = tempfile::tempdir();
        directory
            .map(Directories)
            .map_err(|cause| Missing::new(cause.to_string()))
    })
}
