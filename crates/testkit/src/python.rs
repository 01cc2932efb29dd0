//! Other people's clients: Python, with packages from PyPI where one needs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use waypost_core::{Error, Result};

use crate::Missing;

/// What `WAYPOST_REQUIRE` calls it.
const KIND: &str = "python";
/// Stands in a folder of packages that is complete, and names them.
const COMPLETE: &str = "waypost-packages";

/// A Python 3 that runs scripts.
#[derive(Debug, Clone)]
pub struct Python(PathBuf);

impl Python {
    /// This machine's own, with its standard library.
    ///
    /// # Errors
    /// [`Missing`] where there is none; `WAYPOST_REQUIRE=python` asks for it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn plain() -> Result<Self, Missing> {
        let python = Self(PathBuf::from("python3"));
        python.call(&["--version"]).await?;
        Ok(python)
    }

    /// One with these packages (`kazoo==2.11.0`), which are installed below `folder` unless they
    /// are there: `env!("CARGO_TARGET_TMPDIR")` is a place for it.
    ///
    /// # Errors
    /// [`Missing`] where there is no Python, or the packages cannot be had.
    ///
    /// # Cancel safety
    /// What is half installed is installed anew by the next call.
    pub async fn with(folder: &Path, packages: &[&str]) -> Result<Self, Missing> {
        let python = Self(folder.join("bin/python"));
        let (complete, wanted) = (folder.join(COMPLETE), packages.join(" "));
        if std::fs::read_to_string(&complete).is_ok_and(|there| there == wanted) {
            return Ok(python);
        }
        let folder = folder.display().to_string();
        let plain = Self::plain().await?;
        plain.call(&["-m", "venv", "--clear", &folder]).await?;
        let install = ["-m", "pip", "install", "--quiet"];
        python.call(&[&install, packages].concat()).await?;
        std::fs::write(complete, wanted)
            .map_err(|error| Missing::of(KIND, format!("{folder} cannot be written: {error}")))?;
        Ok(python)
    }

    /// Runs a script with these arguments; what it printed.
    ///
    /// # Errors
    /// `Unavailable` when it fails, with the end of what it said.
    ///
    /// # Cancel safety
    /// The script is killed.
    pub async fn run(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let arguments = [&["-"], arguments].concat();
        let ran = self.output(&arguments, script).await;
        ran.map_err(|said| Error::unavailable(format!("the script failed: {said}")))
    }

    async fn call(&self, arguments: &[&str]) -> Result<String, Missing> {
        let ran = self.output(arguments, "").await;
        ran.map_err(|said| {
            let line = format!("{} {}", self.0.display(), arguments.join(" "));
            Missing::of(KIND, format!("`{line}` fails: {said}"))
        })
    }

    /// The standard output, or the last line of the standard error.
    async fn output(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let fault = |error: std::io::Error| error.to_string();
        let mut child = Command::new(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(fault)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await.map_err(fault)?;
        }
        let output = child.wait_with_output().await.map_err(fault)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        Err(last.map_or_else(|| output.status.to_string(), ToOwned::to_owned))
    }
}
