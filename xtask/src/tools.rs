//! Cargo, protoc and Docker, as the chores need them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The top of the tree.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask stands below the root")?;
    Ok(root.to_owned())
}

/// Cargo at the root, with a protoc for the crates that generate code: the one in `PROTOC` or on
/// the path, else the one that comes as a crate.
pub(crate) fn cargo() -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()?);
    if std::env::var_os("PROTOC").is_none() {
        let protoc = protoc_bin_vendored::protoc_bin_path()
            .context("no protoc for this platform; install one and set PROTOC")?;
        let include = protoc_bin_vendored::include_path()?;
        command.env("PROTOC", protoc).env("PROTOC_INCLUDE", include);
    }
    Ok(command)
}

/// Refuses to go on without a program that a build needs.
pub(crate) fn present(program: &str, what_for: &str) -> Result<()> {
    let answer = Command::new(program).arg("--version").output();
    if answer.is_ok_and(|answer| answer.status.success()) {
        return Ok(());
    }
    bail!("{program} is not installed: {what_for}; install it (apt-get install {program})")
}

/// Why Docker cannot be used, if it cannot.
pub(crate) fn docker_fault() -> Option<String> {
    let answer = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdin(Stdio::null())
        .output();
    match answer {
        Err(error) => Some(format!("docker cannot be run: {error}")),
        Ok(answer) if answer.status.success() => None,
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer.stderr);
            let line = text.lines().find(|line| !line.trim().is_empty());
            Some(line.unwrap_or("docker does not answer").trim().to_owned())
        }
    }
}

/// Makes the images named, if Docker is there.
pub(crate) fn images(names: &[&str]) -> Result<()> {
    if let Some(fault) = docker_fault() {
        eprintln!("no containers: {fault}");
        return Ok(());
    }
    let script = root()?.join("docker/images.sh");
    let status = Command::new("sh").arg(&script).args(names).status()?;
    if !status.success() {
        bail!("{} {} failed", script.display(), names.join(" "));
    }
    Ok(())
}
