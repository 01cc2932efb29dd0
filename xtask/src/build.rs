//! Builds what is to be run, and tells where it is.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tools;

/// An executable that cargo made.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// `package` or `package/target`.
    pub(crate) name: String,
    pub(crate) executable: PathBuf,
    /// The package's folder, where its tests expect to run.
    pub(crate) folder: PathBuf,
    pub(crate) is_test: bool,
}

/// Runs `cargo` with `arguments` and collects the executables.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<Built>> {
    build_with(tools::cargo()?.args(arguments))
}

/// Runs a `cargo` that is ready to go and collects the executables.
pub(crate) fn build_with(cargo: &mut Command) -> Result<Vec<Built>> {
    let mut child = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be run")?;
    let output = child.stdout.take().context("cargo has an output")?;
    let mut built = Vec::new();
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?)?;
        built.extend(artifact(&message));
    }
    if !child.wait()?.success() {
        let arguments: Vec<_> = cargo
            .get_args()
            .map(|text| text.to_string_lossy())
            .collect();
        bail!("cargo {} failed", arguments.join(" "));
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(built)
}

fn artifact(message: &Value) -> Option<Built> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let folder = manifest.parent()?.to_owned();
    let target = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let package = folder
        .strip_prefix(tools::root().ok()?)
        .map_or_else(|_| folder.clone(), PathBuf::from)
        .display()
        .to_string();
    let name = match kind {
        "lib" => package,
        _ => format!("{package}/{target}"),
    };
    Some(Built {
        name,
        executable,
        folder,
        is_test: message["profile"]["test"] == true,
    })
}
