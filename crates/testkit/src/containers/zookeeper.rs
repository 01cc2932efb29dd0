//! ZooKeeper.

use tokio::sync::OnceCell;

use super::ensemble::Ensemble;
use super::recipe::Setup;
use super::{Recipe, Server};
use crate::Missing;

/// ZooKeeper, one server, which takes any number of connections from one address.
pub const ZOOKEEPER: Recipe = Recipe {
    name: "zookeeper",
    image: "waypost/zookeeper:3.9",
    image_variable: "WAYPOST_IMAGE_ZOOKEEPER",
    address_variable: "WAYPOST_TEST_ZOOKEEPER",
    port: 2181,
    datagrams: false,
    data: "/var/lib/zookeeper",
    environment: &[("ZOO_MAX_CLIENT_CNXNS", "0")],
    question: "srvr",
    answer: "Mode: ",
};

/// ZooKeeper of an older release.
pub const ZOOKEEPER_3_8: Recipe = Recipe {
    name: "zookeeper-3.8",
    image: "waypost/zookeeper:3.8",
    image_variable: "WAYPOST_IMAGE_ZOOKEEPER_3_8",
    ..ZOOKEEPER
};

/// The oldest ZooKeeper that is still met: without recursive watches, and without transactions as
/// today's client sends them.
pub const ZOOKEEPER_3_4: Recipe = Recipe {
    name: "zookeeper-3.4",
    image: "waypost/zookeeper:3.4",
    image_variable: "WAYPOST_IMAGE_ZOOKEEPER_3_4",
    ..ZOOKEEPER
};

/// ZooKeeper as an ensemble. Its tick is half a second, so that sessions last from one second to ten
/// and a server that fell silent is given up by the others after two.
pub const ZOOKEEPER_CLUSTER: Ensemble = Ensemble {
    recipe: ZOOKEEPER,
    setup: member,
    question: "srvr",
    answer: "Mode: leader",
};

fn member(names: &[String], place: usize) -> Setup {
    let servers: Vec<String> = (1..)
        .zip(names)
        .map(|(id, name)| format!("server.{id}={name}:2888:3888;2181"))
        .collect();
    let environment = [
        ("ZOO_MY_ID", (place + 1).to_string()),
        ("ZOO_SERVERS", servers.join(" ")),
        ("ZOO_TICK_TIME", "500".to_owned()),
        ("ZOO_SYNC_LIMIT", "4".to_owned()),
        ("ZOO_INIT_LIMIT", "20".to_owned()),
    ];
    Setup {
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..Setup::default()
    }
}

/// The `host:port` of a ZooKeeper: what `WAYPOST_TEST_ZOOKEEPER` names, else a container that is
/// started once and serves all tests of this process.
///
/// # Errors
/// [`Missing`] with the reason when there is none and none can be started.
///
/// # Cancel safety
/// Safe: a start that was given up is started anew by the next caller.
pub async fn zookeeper_address() -> Result<String, Missing> {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    ZOOKEEPER.shared(&SHARED).await
}
