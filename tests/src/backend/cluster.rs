//! Three servers that are one registry.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use waypost_core::InstanceKey;
use waypost_testkit::containers::{
    CONSUL_CLUSTER, Cluster, ETCD_CLUSTER, Ensemble, Server, ZOOKEEPER_CLUSTER,
};

use crate::Result;

use super::Backend;

/// The time between two looks for a leader.
const POLL: Duration = Duration::from_millis(20);

/// What differs from cluster to cluster.
pub trait Kind: fmt::Debug + Send + Sync + 'static {
    /// Name of the driver.
    const NAME: &str;
    /// How much later than the ttl a dead owner's record may be removed.
    const SLACK: Duration;
    /// How its members are started.
    const ENSEMBLE: Ensemble;
    /// How long a cluster whose leader is gone is without one at most, when no vote is split.
    const ELECTION: Duration;
    /// How much longer a write may be held up.
    const HOLD: Duration;
    /// Whether a record is its member's, and has to be written at another one when that falls.
    const RECORDS_MOVE: bool = false;
    /// Whether the others go on when their leader is cut off silently.
    const LEADER_IS_MISSED: bool;
    /// How often a member of the same cluster is cut off.
    const CUTS: usize;
    /// Whether a path in the URL is a prefix of keys.
    const HAS_PREFIX: bool;
}

/// Three members of etcd.
#[derive(Debug)]
pub enum EtcdCluster {}

impl Kind for EtcdCluster {
    const NAME: &str = "etcd";
    const SLACK: Duration = Duration::from_millis(1500);
    const ENSEMBLE: Ensemble = ETCD_CLUSTER;
    // Drawn between one and two timeouts of a second each.
    const ELECTION: Duration = Duration::from_secs(2);
    // A try at a member that has no leader yet, or is silent, is given up after a second.
    const HOLD: Duration = Duration::from_secs(1);
    const LEADER_IS_MISSED: bool = true;
    const CUTS: usize = 3;
    const HAS_PREFIX: bool = true;
}

/// Three servers of Consul, each its own agent.
#[derive(Debug)]
pub enum ConsulCluster {}

impl Kind for ConsulCluster {
    const NAME: &str = "consul";
    const SLACK: Duration = Duration::from_secs(1);
    const ENSEMBLE: Ensemble = CONSUL_CLUSTER;
    // Between one and two timeouts of a second each, and a candidate's second try.
    const ELECTION: Duration = Duration::from_secs(3);
    // An agent dials the dead leader for a while, and takes one write at a time.
    const HOLD: Duration = Duration::from_secs(2);
    const RECORDS_MOVE: bool = true;
    // Their agents answer nobody until they give its connections up, a quarter of a minute later.
    const LEADER_IS_MISSED: bool = false;
    // Who was cut off is struck from the cluster, and comes back much later than its links do.
    const CUTS: usize = 1;
    const HAS_PREFIX: bool = false;
}

/// Three servers of ZooKeeper.
#[derive(Debug)]
pub enum ZooKeeperCluster {}

impl Kind for ZooKeeperCluster {
    const NAME: &str = "zookeeper";
    // Ticks of half a second.
    const SLACK: Duration = Duration::from_millis(1500);
    const ENSEMBLE: Ensemble = ZOOKEEPER_CLUSTER;
    // Two seconds until a silent leader is given up, and as much until the next one has followers.
    const ELECTION: Duration = Duration::from_secs(4);
    const HOLD: Duration = Duration::ZERO;
    const LEADER_IS_MISSED: bool = true;
    const CUTS: usize = 3;
    const HAS_PREFIX: bool = true;
}

/// A cluster whose clients know all members, each beginning with another one.
///
/// What a [`Backend`] does to its server happens to the member that leads. What a single server can
/// have and a cluster's leader cannot is refused.
#[derive(Debug)]
pub struct Clustered<K> {
    cluster: Cluster,
    first: SocketAddr,
    /// Clients so far.
    clients: AtomicUsize,
    /// The member that was struck, until it is back.
    struck: Mutex<Option<usize>>,
    /// Leaders that were struck so far.
    strikes: AtomicUsize,
    kind: PhantomData<K>,
}

impl<K: Kind> Clustered<K> {
    /// The cluster itself.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How many leaders were struck so far.
    #[must_use]
    pub fn strikes(&self) -> usize {
        self.strikes.load(Ordering::Relaxed)
    }

    /// URL of a registry on these members alone, in this order.
    #[must_use]
    pub fn url_of(&self, places: &[usize], namespace: &str) -> String {
        let members = self.cluster.members();
        let addresses = places.iter().filter_map(|&place| members.get(place));
        let addresses: Vec<String> = addresses.map(Server::address).collect();
        url::<K>(&addresses.join(","), namespace)
    }

    /// The member that most clients are at, but the one at `except`.
    ///
    /// # Errors
    /// When nobody can tell.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn busiest(&self, except: Option<usize>) -> Result<usize> {
        let mut most = (0, 0);
        for place in 0..self.cluster.members().len() {
            let connections = self.cluster.connections(place).await?;
            if connections > most.0 && except != Some(place) {
                most = (connections, place);
            }
        }
        crate::ensure(most.0 > 0, || "no member has a client")?;
        Ok(most.1)
    }

    /// Waits until a member leads that is not down.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn elected(&self) {
        loop {
            for place in 0..self.cluster.members().len() {
                if self.down() != Some(place) && self.cluster.leads(place).await {
                    return;
                }
            }
            sleep(POLL).await;
        }
    }

    fn down(&self) -> Option<usize> {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self, place: usize) -> Result<&Server> {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        self.strikes.fetch_add(1, Ordering::Relaxed);
        self.member(place)
    }

    fn struck(&self) -> Result<&Server> {
        self.member(self.down().ok_or("no member was struck")?)
    }

    fn is_back(&self) {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn member(&self, place: usize) -> Result<&Server> {
        let member = self.cluster.members().get(place);
        Ok(member.ok_or("there is no such member")?)
    }

    fn rotated(&self) -> Vec<usize> {
        let count = self.cluster.members().len();
        let first = self.clients.fetch_add(1, Ordering::Relaxed);
        (first..first + count).map(|place| place % count).collect()
    }
}

fn url<K: Kind>(addresses: &str, namespace: &str) -> String {
    let path = if K::HAS_PREFIX { namespace } else { "" };
    format!("{}://{addresses}{path}", K::NAME)
}

#[async_trait]
impl<K: Kind> Backend for Clustered<K> {
    const NAME: &str = K::NAME;
    const SLACK: Duration = K::SLACK;

    async fn open(arguments: &[&str], guarded: bool) -> Result<Self> {
        crate::ensure(!guarded, || "a cluster has no users")?;
        let cluster = Cluster::start_with(&K::ENSEMBLE, arguments).await?;
        let first = cluster.addresses().first().ok_or("no members")?.parse()?;
        Ok(Self {
            cluster,
            first,
            clients: AtomicUsize::new(0),
            struck: Mutex::new(None),
            strikes: AtomicUsize::new(0),
            kind: PhantomData,
        })
    }

    /// The first member's, which stands for all of them in [`Backend::url`].
    fn address(&self) -> SocketAddr {
        self.first
    }

    fn url(&self, via: SocketAddr, namespace: &str) -> String {
        if via == self.first {
            self.url_of(&self.rotated(), namespace)
        } else {
            url::<K>(&via.to_string(), namespace)
        }
    }

    fn observer_url(&self, namespace: &str) -> String {
        self.url_of(&self.rotated(), namespace)
    }

    async fn kill(&self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        Ok(self.strike(leader)?.kill().await?)
    }

    async fn start(&self) -> Result<()> {
        self.struck()?.revive().await?;
        self.is_back();
        Ok(())
    }

    async fn pause(&self) -> Result<()> {
        let leader = self.cluster.leader().await?;
        Ok(self.strike(leader)?.pause().await?)
    }

    async fn unpause(&self) -> Result<()> {
        self.struck()?.unpause().await?;
        self.is_back();
        Ok(())
    }

    async fn wipe(&mut self) -> Result<()> {
        Err("a cluster is not wiped".into())
    }

    async fn remove(&self, _: &str, _: &InstanceKey) -> Result<()> {
        Err("by hand, nothing is done to a cluster".into())
    }

    async fn end_lease(&self, _: &str, _: &InstanceKey) -> Result<()> {
        Err("by hand, nothing is done to a cluster".into())
    }
}
