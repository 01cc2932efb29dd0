//! A docker network that ends with its cluster.

use std::collections::HashMap;

use testcontainers::bollard::models::NetworkCreateRequest;
use testcontainers::core::client::docker_client_instance;

use super::reaper::Reaper;
use super::sweep::{LABEL, MACHINE, machine};
use crate::Missing;

/// A network of its own, in which containers know each other by name.
///
/// It is removed once it is dropped, or this process has ended, and no container is in it.
#[derive(Debug)]
pub(super) struct Network {
    name: String,
    /// `None` where there is no shell: the sweep of the next run is left.
    _reaper: Option<Reaper>,
}

impl Network {
    pub(super) async fn create(name: String) -> Result<Self, Missing> {
        let fault = |error: &dyn std::fmt::Display| {
            Missing::new(format!("docker does not create network {name}: {error}"))
        };
        let docker = docker_client_instance()
            .await
            .map_err(|error| fault(&error))?;
        let request = NetworkCreateRequest {
            name: name.clone(),
            labels: Some(HashMap::from([
                (LABEL.to_owned(), std::process::id().to_string()),
                (MACHINE.to_owned(), machine()),
            ])),
            ..NetworkCreateRequest::default()
        };
        docker
            .create_network(request)
            .await
            .map_err(|error| fault(&error))?;
        Ok(Self {
            _reaper: Reaper::of_network(&name).ok(),
            name,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}
