//! The house's one suite, on a file a namespace.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tempfile::TempDir;
use waypost_core::{Error, Instance, Profile, Registry, Result, Service, Target};
use waypost_static::DRIVER;
use waypost_testkit::{Cut, Missing, Planted, Subject, async_trait, main as run};

struct Files(TempDir);

impl Files {
    fn path(&self, namespace: &str) -> PathBuf {
        self.0.path().join(namespace).with_extension("json")
    }

    fn write(&self, namespace: &str, text: &str) -> Result<Planted> {
        let draft = self.path(namespace).with_extension("draft");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, self.path(namespace)))
            .map_err(|cause| Error::unavailable("cannot write").with_source(cause))?;
        Ok(Planted::Done)
    }
}

#[async_trait]
impl Subject for Files {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let path = self.path(namespace);
        if !path.exists() && !path.with_extension("away").exists() {
            self.write(namespace, "[]")?;
        }
        let target = Target::new("static")?
            .with_option("file", path.to_string_lossy())
            .with_option("relist", "200ms");
        (DRIVER.connect)(target).await
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        let services = serde_json::to_string(&Service::group(instances));
        let text =
            services.map_err(|cause| Error::unavailable("cannot write").with_source(cause))?;
        self.write(namespace, &text)
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        if cut == Cut::Silence {
            return Ok(Planted::Unsupported("a file does not fall silent"));
        }
        let path = self.path(namespace);
        fs::rename(&path, path.with_extension("away"))
            .map_err(|cause| Error::unavailable("cannot cut").with_source(cause))?;
        Ok(Planted::Done)
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        let path = self.path(namespace);
        fs::rename(path.with_extension("away"), &path)
            .map_err(|cause| Error::unavailable("cannot mend").with_source(cause))
    }
}

fn main() -> ExitCode {
    run(async || {
        let directory = tempfile::tempdir();
        directory
            .map(Files)
            .map_err(|cause| Missing::new(cause.to_string()))
    })
}
