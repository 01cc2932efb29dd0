//! Servers as their bare clients see them: the peers of watches.

mod consul;
mod etcd;
mod zookeeper;

use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::Instant;
use waypost_core::{Instance, ServiceName};

pub(crate) use self::consul::Consul;
pub(crate) use self::etcd::Etcd;
pub(crate) use self::zookeeper::ZooKeeper;

/// The moments at which a bare client had each event.
pub(crate) type Heard = mpsc::UnboundedReceiver<Instant>;

/// A server and its bare client. Spaces keep measurements apart.
pub(crate) trait Bare {
    /// Name of the driver.
    const NAME: &'static str;
    /// Between two events, so that the server tells of each one by itself.
    const APART: Duration;
    /// Events that are measured one by one.
    const EVENTS: usize;
    /// Changes that many subscribers are told of.
    const WRITES: usize;

    /// The URL of our registry on this server.
    fn url(&self, space: &str) -> String;

    /// Listens as the bare client does; it is listening when this returns.
    async fn listen(&self, space: &str) -> Result<Heard>;

    /// Writes a record that is new.
    async fn write(&mut self, space: &str, instance: &Instance) -> Result<()>;

    /// How many watches the server has, or what a watch costs it.
    async fn watches(&self) -> Result<f64>;
}

/// The service of a space. Not every server has prefixes, hence its name tells the space.
pub(crate) fn service(space: &str) -> Result<ServiceName> {
    let process = std::process::id();
    Ok(ServiceName::new(&format!("{space}-{process}"))?)
}
