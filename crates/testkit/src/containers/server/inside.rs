//! What happens within a server's container.

use std::time::Duration;

use testcontainers::bollard::exec::StartExecOptions;
use testcontainers::bollard::models::{ContainerInspectResponse, ExecConfig};
use testcontainers::core::{CmdWaitFor, ExecCommand};
use tokio::time::sleep;
use waypost_core::{Error, Result};

use super::Server;

/// What a command in a container said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its exit code, if it ended by itself.
    pub code: Option<i64>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Server {
    /// Puts a file into the running container, in the place of one that was there. The server's
    /// user must own the folder.
    ///
    /// # Errors
    /// Docker's; `Unavailable` when the file cannot be written.
    ///
    /// # Cancel safety
    /// The file is the old one or the new one.
    pub async fn put(&self, path: &str, text: &str) -> Result<()> {
        let fault = |error| self.fault("put a file into", error);
        let docker = self.docker().await?;
        let script = r#"printf %s "$1" >"$0.new" && mv -f "$0.new" "$0""#;
        let command = ["sh", "-c", script, path, text].map(str::to_owned);
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            ..ExecConfig::default()
        };
        let command = docker.create_exec(self.id(), config).await.map_err(fault)?;
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        let started = docker.start_exec(&command.id, Some(detached)).await;
        started.map_err(fault)?;
        loop {
            let state = docker.inspect_exec(&command.id).await.map_err(fault)?;
            match (state.running, state.exit_code) {
                (Some(false), Some(0)) => return Ok(()),
                (Some(false), Some(code)) => {
                    let text = format!("{path} cannot be written; the shell ended with {code}");
                    return Err(Error::unavailable(text));
                }
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Puts files into the container, by their paths, and starts the server again as after a crash.
    ///
    /// # Errors
    /// As [`Server::put`] and [`Server::revive`].
    ///
    /// # Cancel safety
    /// Some files may be the old ones, and the server may be down.
    pub async fn restart_with(&self, files: &[(String, String)]) -> Result<()> {
        for (path, text) in files {
            self.put(path, text).await?;
        }
        self.kill().await?;
        self.revive().await
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// # Errors
    /// Docker's. A command that fails is not one; see [`Output::code`].
    ///
    /// # Cancel safety
    /// The command goes on.
    pub async fn exec(&self, command: &[&str]) -> Result<Output> {
        let fault = |error| self.fault("exec", error);
        let command =
            ExecCommand::new(command.iter().copied()).with_cmd_ready_condition(CmdWaitFor::exit());
        let mut result = self.container()?.exec(command).await.map_err(fault)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            stdout: text(result.stdout_to_vec().await.map_err(fault)?),
            stderr: text(result.stderr_to_vec().await.map_err(fault)?),
            code: result.exit_code().await.map_err(fault)?,
        })
    }

    /// What it has logged so far, standard output before standard error.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn logs(&self) -> Result<String> {
        let fault = |error| self.fault("logs", error);
        let mut all = self.container()?.stdout_to_vec().await.map_err(fault)?;
        all.extend(self.container()?.stderr_to_vec().await.map_err(fault)?);
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    /// Its process on this machine, whose namespaces are the container's.
    pub(in crate::containers) async fn process(&self) -> Result<i64> {
        let state = self.inspect().await?.state;
        state
            .and_then(|state| state.pid)
            .filter(|&process| process != 0)
            .ok_or_else(|| {
                Error::unavailable("it does not run").with_operation("find", self.name())
            })
    }

    /// Its address within its network.
    pub(in crate::containers) async fn inner_address(&self) -> Result<String> {
        let settings = self.inspect().await?.network_settings;
        let networks = settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        networks
            .into_values()
            .filter_map(|network| network.ip_address)
            .find(|address| !address.is_empty())
            .ok_or_else(|| {
                Error::unavailable("it has no address").with_operation("find", self.name())
            })
    }

    async fn inspect(&self) -> Result<ContainerInspectResponse> {
        let docker = self.docker().await?;
        let inspected = docker.inspect_container(self.id(), None).await;
        inspected.map_err(|error| self.fault("inspect", error))
    }
}
