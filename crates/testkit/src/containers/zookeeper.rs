//! ZooKeeper.

use tokio::sync::OnceCell;

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
    environment: &[("ZOO_MAX_CLIENT_CNXNS", "0")],
    question: "srvr",
    answer: "Mode: ",
};

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
