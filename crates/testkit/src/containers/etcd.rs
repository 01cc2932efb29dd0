//! etcd.

use tokio::sync::OnceCell;

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
    environment: &[],
    question: "GET /health HTTP/1.0\r\n\r\n",
    answer: "\"health\":\"true\"",
};

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
