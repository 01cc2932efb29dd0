//! The server under test, and what can be done to it.

mod cluster;
mod consul;
mod etcd;
mod numbers;
mod planted;
mod zookeeper;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use waypost_core::InstanceKey;

use crate::Result;
use crate::history::History;

pub use cluster::{Clustered, ConsulCluster, EtcdCluster, Kind, ZooKeeperCluster};
pub use consul::Consul;
pub use etcd::Etcd;
pub(crate) use etcd::PASSWORD;
pub use numbers::Numbers;
pub use planted::{plant, uproot};
pub use zookeeper::Zookeeper;
pub(crate) use zookeeper::{ANCIENT, FEW_CONNECTIONS, SMALL_REQUESTS};

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
    /// Whether one lease (a session) holds all records of a process.
    const SHARED_LEASE: bool = false;
    /// Records that the server takes a second, roughly: what the size of a crowd follows.
    const WRITES_A_SECOND: usize = 2_000;
    /// Whether a watch tells of every change; else of the latest state, and what came and went
    /// between two looks is not told.
    const TELLS_EVERY_CHANGE: bool = true;
    /// Whether a server that was down for longer than the ttl comes back with the records expired;
    /// else their time begins anew.
    const RETURNS_EXPIRED: bool = false;
    /// What the server speaks, as TLS names it; nothing where its clients do not ask.
    const PROTOCOLS: &[&str] = &[];

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

    /// A number that grows by one at least with every record that comes.
    ///
    /// # Errors
    /// When the server does not say, or does not count.
    ///
    /// # Cancel safety
    /// Safe.
    async fn writes(&self) -> Result<u64> {
        Err(format!("{} does not count its writes", Self::NAME).into())
    }

    /// Records the changes of the house's service as the server itself numbers them, past every
    /// proxy; nothing where it does not number them.
    fn numbers(&self, _namespace: &str, _history: History) -> Option<Numbers> {
        None
    }
}
