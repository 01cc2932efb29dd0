//! What may happen to a server.

use testcontainers::bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use waypost_core::Result;

use super::Server;

/// The network that containers are in unless they ask for another one.
const NETWORK: &str = "bridge";

impl Server {
    /// Freezes it: connections stay, nothing passes.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be frozen then.
    pub async fn pause(&self) -> Result<()> {
        let done = self.container()?.pause().await;
        done.map_err(|error| self.fault("pause", error))
    }

    /// Lets it go on after [`Server::pause`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not go on then.
    pub async fn unpause(&self) -> Result<()> {
        let done = self.container()?.unpause().await;
        done.map_err(|error| self.fault("unpause", error))
    }

    /// Kills it with SIGKILL. Its data stays for [`Server::revive`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be dead then.
    pub async fn kill(&self) -> Result<()> {
        let signal = KillContainerOptionsBuilder::default()
            .signal("SIGKILL")
            .build();
        let done = self
            .docker()
            .await?
            .kill_container(self.id(), Some(signal))
            .await;
        done.map_err(|error| self.fault("kill", error))
    }

    /// Stops it in order, as an operator would.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be stopped then.
    pub async fn stop(&self) -> Result<()> {
        let done = self.container()?.stop_with_timeout(Some(10)).await;
        done.map_err(|error| self.fault("stop", error))
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], with its data and on its port,
    /// and waits until it serves.
    ///
    /// # Errors
    /// Docker's, or as [`Server::ready`].
    ///
    /// # Cancel safety
    /// It may or may not run then.
    pub async fn revive(&self) -> Result<()> {
        let done = self.container()?.start().await;
        done.map_err(|error| self.fault("revive", error))?;
        self.ready().await
    }

    /// Replaces it by a new one without any data, on the same port.
    ///
    /// # Errors
    /// Docker's, or as [`Server::ready`].
    ///
    /// # Cancel safety
    /// There may be no server then; wipe again.
    pub async fn wipe(&mut self) -> Result<()> {
        if let Some(container) = self.container.take() {
            let removed = container.rm().await;
            removed.map_err(|error| self.fault("wipe", error))?;
        }
        self.reaper = None;
        self.create().await
    }

    /// Takes it out of its network, its port included: connections are reset, new ones refused.
    /// For a link that swallows everything use [`Server::pause`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be disconnected then.
    pub async fn disconnect(&self) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: self.id().to_owned(),
            force: Some(true),
        };
        let done = self
            .docker()
            .await?
            .disconnect_network(NETWORK, request)
            .await;
        done.map_err(|error| self.fault("disconnect", error))
    }

    /// Puts it back after [`Server::disconnect`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be connected then.
    pub async fn connect(&self) -> Result<()> {
        let request = NetworkConnectRequest {
            container: self.id().to_owned(),
            endpoint_config: None,
        };
        let done = self.docker().await?.connect_network(NETWORK, request).await;
        done.map_err(|error| self.fault("connect", error))
    }
}
