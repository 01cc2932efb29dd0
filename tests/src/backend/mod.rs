//! The server under test, and what can be done to it.

mod cluster;
mod etcd;
mod planted;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use waypost_core::InstanceKey;

use crate::Result;

pub use cluster::{Clustered, ConsulCluster, EtcdCluster, Kind, ZooKeeperCluster};
pub use etcd::Etcd;
pub(crate) use etcd::PASSWORD;
pub use planted::{plant, uproot};

/// A real server in a container. Dropping it ends the container.
///
/// A *namespace* is a key prefix that the records of one house stand under. Every method returns
/// when what it did has happened; waiting for its consequences is the fault's affair.
#[async_trait]
pub trait Backend: Send + Sync + Sized + 'static {
    /// Name of the driver, which is also the suite's: `etcd`.
    const NAME: &str;
    /// How much later than the ttl the server may remove a dead owner's record.
    const SLACK: Duration;

    /// Starts a server and waits until it serves. `arguments` go to the program.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Cancel safety
    /// Safe.
    async fn open(arguments: &[&str], guarded: bool) -> Result<Self>;

    /// Where the server listens, on this machine. Stays the same for its life.
    fn address(&self) -> SocketAddr;

    /// URL of a registry on this server for a client that connects to `via`, credentials included.
    fn url(&self, via: SocketAddr, namespace: &str) -> String;

    /// URL of a registry on this server for the fresh lookups: never through a proxy, and as a user
    /// whom no fault touches.
    fn observer_url(&self, namespace: &str) -> String;

    /// Kills the server; its data stay.
    async fn kill(&self) -> Result<()>;

    /// Starts a killed server and waits until it serves.
    async fn start(&self) -> Result<()>;

    /// Freezes the server: connections stay, nothing is answered.
    async fn pause(&self) -> Result<()>;

    /// Ends a pause.
    async fn unpause(&self) -> Result<()>;

    /// Puts an empty server in its place, and waits until it serves.
    async fn wipe(&mut self) -> Result<()>;

    /// Removes a record by hand; the owner's lease lives on.
    async fn remove(&self, namespace: &str, key: &InstanceKey) -> Result<()>;

    /// Ends the lease or session that a record lives by, as an administrator would.
    async fn end_lease(&self, namespace: &str, key: &InstanceKey) -> Result<()>;
}
