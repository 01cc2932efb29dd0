//! The common suite on a registry.

use std::process::ExitCode;

// Your own driver goes here.
use waypost_file::DRIVER;
use waypost_testkit::{Driven, Missing, main as run};

fn main() -> ExitCode {
    run(async || {
        let folder = tempfile::tempdir().map_err(|cause| Missing::new(cause.to_string()))?;
        // A fresh client of the shared backend, in the namespace that a case asks for.
        let url = move |namespace: &str| format!("file://{}/{namespace}", folder.path().display());
        Ok(Driven::new(&DRIVER, url))
    })
}
