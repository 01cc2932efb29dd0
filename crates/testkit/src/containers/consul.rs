//! Consul.

use tokio::sync::OnceCell;

use super::ensemble::{Ensemble, MEMBERS};
use super::recipe::Setup;
use super::{Recipe, Server};
use crate::Missing;

/// Consul, one server that is its own agent.
pub const CONSUL: Recipe = Recipe {
    name: "consul",
    image: "waypost/consul:1.8",
    image_variable: "WAYPOST_IMAGE_CONSUL",
    address_variable: "WAYPOST_TEST_CONSUL",
    port: 8500,
    datagrams: false,
    data: "/var/lib/consul",
    environment: &[],
    // Served once there is a leader and the agent has told it of itself.
    question: "GET /v1/health/service/consul?passing=1 HTTP/1.0\r\n\r\n",
    answer: "\"serfHealth\"",
};

/// The same for arguments that switch ACLs on, with the master token `root`: who shows no token is
/// shown nothing.
pub const CONSUL_GUARDED: Recipe = Recipe {
    question: "GET /v1/health/service/consul?passing=1 HTTP/1.0\r\nX-Consul-Token: root\r\n\r\n",
    ..CONSUL
};

/// Consul as a cluster: each server is its own agent.
pub const CONSUL_CLUSTER: Ensemble = Ensemble {
    recipe: CONSUL,
    setup: member,
    question: "GET /v1/agent/self HTTP/1.0\r\n\r\n",
    answer: "\"leader\":\"true\"",
};

fn member(names: &[String], place: usize) -> Setup {
    let own = [
        "-server".to_owned(),
        format!("-bootstrap-expect={MEMBERS}"),
        format!("-node={}", names[place]),
        r#"-bind={{ GetInterfaceIP "eth0" }}"#.to_owned(),
        "-client=0.0.0.0".to_owned(),
        "-retry-interval=1s".to_owned(),
        // Through published ports all clients have one address, whose 201st connection an agent
        // would close; and elections need not wait as they do on small machines.
        "-hcl=limits { http_max_conns_per_client = 4000 } performance { raft_multiplier = 1 }"
            .to_owned(),
    ];
    let joined = names.iter().map(|name| format!("-retry-join={name}"));
    Setup {
        arguments: own.into_iter().chain(joined).collect(),
        ..Setup::default()
    }
}

/// The `host:port` of a Consul agent: what `WAYPOST_TEST_CONSUL` names, else a container that is started once and
/// serves all tests of this process.
///
/// # Errors
/// [`Missing`] with the reason when there is none and none can be started.
///
/// # Cancel safety
/// Safe: a start that was given up is started anew by the next caller.
pub async fn consul_address() -> Result<String, Missing> {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    CONSUL.shared(&SHARED).await
}
