//! Removes what earlier runs left behind.

use std::collections::HashMap;
use std::path::Path;

use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;

/// Names the process that a container belongs to.
pub(super) const LABEL: &str = "waypost.test";
/// Names the machine of that process: a daemon may serve several.
pub(super) const MACHINE: &str = "waypost.test.machine";

/// The name of this machine or container, where process ids mean something.
pub(super) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Removes containers and networks whose process is gone. A failure leaves them for the next run.
pub(super) async fn sweep() {
    // Where there is no such folder nobody's process looks alive.
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(docker) = docker_client_instance().await else {
        return;
    };
    let filters = HashMap::from([("label", vec![format!("{MACHINE}={}", machine())])]);
    sweep_containers(&docker, &filters).await;
    sweep_networks(&docker, &filters).await;
}

async fn sweep_containers(docker: &Docker, filters: &HashMap<&str, Vec<String>>) {
    let ours = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(filters)
        .build();
    let left = docker.list_containers(Some(ours)).await.unwrap_or_default();
    for container in left.into_iter().filter(|one| is_left(one.labels.as_ref())) {
        if let Some(id) = container.id {
            let force = RemoveContainerOptionsBuilder::default()
                .force(true)
                .v(true)
                .build();
            let _ = docker.remove_container(&id, Some(force)).await;
        }
    }
}

async fn sweep_networks(docker: &Docker, filters: &HashMap<&str, Vec<String>>) {
    let ours = ListNetworksOptionsBuilder::default()
        .filters(filters)
        .build();
    let left = docker.list_networks(Some(ours)).await.unwrap_or_default();
    for network in left.into_iter().filter(|one| is_left(one.labels.as_ref())) {
        if let Some(id) = network.id {
            let _ = docker.remove_network(&id).await;
        }
    }
}

/// Whether the process that the labels name is gone.
fn is_left(labels: Option<&HashMap<String, String>>) -> bool {
    let owner = labels.and_then(|labels| labels.get(LABEL));
    owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
}
