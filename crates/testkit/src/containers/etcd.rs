//! etcd.

use tokio::sync::OnceCell;

use super::ensemble::Ensemble;
use super::recipe::Setup;
use super::{Recipe, Server};
use crate::Missing;

/// etcd, one member.
pub const ETCD: Recipe = Recipe {
    name: "etcd",
    image: "waypost/etcd:3.5",
    image_variable: "WAYPOST_IMAGE_ETCD",
    address_variable: "WAYPOST_TEST_ETCD",
    port: 2379,
    datagrams: false,
    data: "/var/lib/etcd",
    environment: &[],
    question: "GET /health HTTP/1.0\r\n\r\n",
    answer: "\"health\":\"true\"",
};

/// etcd of an older release.
pub const ETCD_3_4: Recipe = Recipe {
    name: "etcd-3.4",
    image: "waypost/etcd:3.4",
    image_variable: "WAYPOST_IMAGE_ETCD_3_4",
    ..ETCD
};

/// The oldest etcd that is still met.
pub const ETCD_3_3: Recipe = Recipe {
    name: "etcd-3.3",
    image: "waypost/etcd:3.3",
    image_variable: "WAYPOST_IMAGE_ETCD_3_3",
    ..ETCD
};

/// etcd as a cluster.
pub const ETCD_CLUSTER: Ensemble = Ensemble {
    recipe: ETCD,
    setup: member,
    question: "GET /metrics HTTP/1.0\r\n\r\n",
    answer: "\netcd_server_is_leader 1\n",
};

fn member(names: &[String], place: usize) -> Setup {
    let name = &names[place];
    let all: Vec<String> = names
        .iter()
        .map(|name| format!("{name}=http://{name}:2380"))
        .collect();
    Setup {
        arguments: vec![
            format!("--name={name}"),
            "--listen-client-urls=http://0.0.0.0:2379".to_owned(),
            "--listen-peer-urls=http://0.0.0.0:2380".to_owned(),
            format!("--advertise-client-urls=http://{name}:2379"),
            format!("--initial-advertise-peer-urls=http://{name}:2380"),
            format!("--initial-cluster={}", all.join(",")),
            "--initial-cluster-state=new".to_owned(),
        ],
        ..Setup::default()
    }
}

/// The `host:port` of an etcd: what `WAYPOST_TEST_ETCD` names, else a container that is started once and
/// serves all tests of this process.
///
/// # Errors
/// [`Missing`] with the reason when there is none and none can be started.
///
/// # Cancel safety
/// Safe: a start that was given up is started anew by the next caller.
pub async fn etcd_address() -> Result<String, Missing> {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    ETCD.shared(&SHARED).await
}
