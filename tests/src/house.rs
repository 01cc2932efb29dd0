//! A server with three processes of two nodes each, and everybody who looks on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waypost::{Drivers, Origin, Target};
use waypost_core::{DirectoryOptions, InstanceKey, NodeId, Registry, ServiceName};

use crate::Result;
use crate::agent::{Agent, Clock, Order};
use crate::backend::Backend;
use crate::bounds::T;
use crate::door::Door;
use crate::history::History;
use crate::observe::{Lookups, Reader, Watched};

mod sight;
mod ways;

pub use sight::has;
pub use ways::Ways;

/// The service that everybody registers and follows.
pub const SERVICE: &str = "orders";
/// The processes, by their nodes.
const PROCESSES: [[&str; 2]; 3] = [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]];
/// What the processes are called in the timeline, and one more that a fault may start.
const NAMES: [&str; 4] = ["agent-a", "agent-b", "agent-c", "agent-d"];
/// Longest wait for a house to be whole.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
/// Longest time an operation of an observer may take.
const OPERATION_LIMIT: Duration = Duration::from_secs(2);

/// What a fault's house is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The ttl of the nodes.
    pub ttl: Duration,
    /// Whether the first process, the watchers and the directories connect through a proxy.
    pub proxied: bool,
    /// Whether those who connect through a proxy speak TLS.
    pub sealed: bool,
    /// Arguments for the server.
    pub arguments: &'static [&'static str],
    /// Whether the server demands a password.
    pub guarded: bool,
    /// How often the directories compare with a fresh list.
    pub relist: Duration,
    /// Whether the agents follow the service as well.
    pub follow: bool,
    /// Whether the first process has a wall clock of its own, which can be moved.
    pub clock: bool,
}

impl Shape {
    /// Everybody connects directly.
    pub const PLAIN: Self = Self {
        ttl: T,
        proxied: false,
        sealed: false,
        arguments: &[],
        guarded: false,
        relist: Duration::from_secs(60),
        follow: false,
        clock: false,
    };
    /// The first process and the readers connect through proxies.
    pub const PROXIED: Self = Self {
        proxied: true,
        ..Self::PLAIN
    };
}

/// A house under test.
#[derive(Debug)]
pub struct House<B> {
    /// The server.
    pub backend: B,
    /// The key prefix of this house.
    pub namespace: String,
    /// The processes. The first one is the one that faults of one process happen to.
    pub agents: Vec<Agent>,
    /// Raw watches.
    pub watched: [Watched; 2],
    /// Directories.
    pub readers: [Reader; 2],
    /// Fresh lookups, never through a proxy.
    pub lookups: Lookups,
    /// The proxies.
    pub ways: Option<Ways>,
    /// What speaks TLS between the proxies and the server.
    door: Option<Door>,
    /// The wall clock of the first process, if it is not the machine's.
    clock: Option<Clock>,
    /// What is seen.
    pub history: History,
    /// When the repetition began.
    pub begun: Instant,
    shape: Shape,
    binary: PathBuf,
}

impl<B: Backend> House<B> {
    /// Starts a server, the agents and the observers, and waits until all is well.
    ///
    /// # Errors
    /// Why it is not.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open(shape: Shape, binary: &Path) -> Result<Self> {
        Self::open_noting(shape, binary, History::default()).await
    }

    /// As [`House::open`], with a timeline that is there already.
    ///
    /// # Errors
    /// As [`House::open`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open_noting(shape: Shape, binary: &Path, history: History) -> Result<Self> {
        let backend = B::open(shape.arguments, shape.guarded).await?;
        let namespace = format!("/t/{:08x}", fastrand::u32(..));
        let direct = backend.address();
        let door = if shape.sealed {
            Some(Door::open(direct, B::PROTOCOLS).await?)
        } else {
            None
        };
        let ways = if shape.proxied {
            let server = door.as_ref().map_or(direct, Door::address);
            Some(Ways::open(server, &history).await?)
        } else {
            None
        };
        let url = |via| url(&backend, door.as_ref(), via, &namespace);
        let [registering, reading, watching] = match &ways {
            Some(ways) => [ways.agent_at()?, ways.readers_at()?, ways.watched_at()?],
            None => [direct; 3],
        };
        let clock = if shape.clock {
            Some(Clock::new().await?)
        } else {
            None
        };
        let mut agents = Vec::new();
        for (place, nodes) in PROCESSES.into_iter().enumerate() {
            let via = if place == 0 { registering } else { direct };
            let order = order(shape, url(via), nodes);
            let environment = environment(place, clock.as_ref());
            let agent = Agent::start_in(&environment, NAMES[place], binary, order, &history)?;
            agents.push(agent);
        }
        for agent in &agents {
            agent.live(SETTLE_LIMIT).await?;
        }
        let connect = async |via| connect(&url(via)).await;
        let options = DirectoryOptions::new().with_relist(shape.relist);
        let reader = async |name: &str| -> Result<Reader> {
            let registry = connect(reading).await?;
            let (service, options) = (service(), options.clone());
            Ok(Reader::start(name, registry, service, options, history.clone()).await?)
        };
        let watch = async |name: &str| -> Result<Watched> {
            let registry = connect(watching).await?;
            Ok(Watched::start(name, registry, service(), history.clone()))
        };
        let readers = [reader("directory-1").await?, reader("directory-2").await?];
        let watched = [watch("watch-1").await?, watch("watch-2").await?];
        let observer = self::connect(&backend.observer_url(&namespace)).await?;
        let lookups = Lookups::start(observer, service(), history.clone());
        Ok(Self {
            namespace,
            agents,
            watched,
            readers,
            lookups,
            ways,
            door,
            clock,
            history,
            begun: Instant::now(),
            shape,
            binary: binary.to_owned(),
            backend,
        })
    }

    /// Makes the house whole again, and begins a new account of everything.
    ///
    /// # Errors
    /// When it does not become whole.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn settle(&mut self) -> Result<()> {
        for place in 0..self.agents.len() {
            if self.agents[place].has_ended() {
                self.restart_agent(place)?;
            }
        }
        self.healed(SETTLE_LIMIT).await?;
        self.converge(SETTLE_LIMIT).await?;
        self.lookups.restart();
        self.readers.iter().for_each(Reader::restart);
        self.watched.iter().for_each(Watched::restart);
        self.history.restart();
        self.begun = Instant::now();
        Ok(())
    }

    /// Starts the process at `place` anew, with the nodes that it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart_agent(&mut self, place: usize) -> Result<()> {
        let order = self.agents[place].order().clone();
        self.agents[place] = self.start_agent(place, order)?;
        Ok(())
    }

    /// Starts one more process with `order`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&self, place: usize, order: Order) -> Result<Agent> {
        let name = NAMES[place.min(3)];
        let environment = environment(place, self.clock.as_ref());
        Agent::start_in(&environment, name, &self.binary, order, &self.history)
    }

    /// The nodes of the process at `place`.
    #[must_use]
    pub fn nodes(&self, place: usize) -> [&'static str; 2] {
        PROCESSES[place]
    }

    /// The shape of this house.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The program of the processes.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A fresh client of the server, past every proxy.
    ///
    /// # Errors
    /// When the URL is refused.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn client(&self) -> Result<Arc<dyn Registry>> {
        connect(&self.backend.url(self.backend.address(), &self.namespace)).await
    }

    /// The wall clock of the first process.
    ///
    /// # Errors
    /// When it is the machine's.
    pub fn clock(&self) -> Result<&Clock> {
        let clock = self.clock.as_ref();
        clock.ok_or_else(|| "the processes go by the machine's clock".into())
    }

    /// A fresh client on the way of the directories.
    ///
    /// # Errors
    /// When the URL is refused, or there is no such way.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn client_on_the_way(&self) -> Result<Arc<dyn Registry>> {
        let via = self.ways()?.readers_at()?;
        connect(&url(
            &self.backend,
            self.door.as_ref(),
            via,
            &self.namespace,
        ))
        .await
    }

    /// What speaks TLS for the server.
    ///
    /// # Errors
    /// When nothing does.
    pub fn door(&self) -> Result<&Door> {
        let door = self.door.as_ref();
        door.ok_or_else(|| "nobody speaks TLS here".into())
    }

    /// The proxies.
    ///
    /// # Errors
    /// When this house has none.
    pub fn ways(&self) -> Result<&Ways> {
        self.ways.as_ref().ok_or_else(|| "no proxies here".into())
    }
}

/// The name of the service.
///
/// # Panics
/// Never: the name is a constant that keeps the rules.
#[must_use]
pub fn service() -> ServiceName {
    #[expect(
        clippy::expect_used,
        reason = "the name is a constant that keeps the rules"
    )]
    ServiceName::new(SERVICE).expect("a strict name")
}

/// The key of one of its nodes.
///
/// # Errors
/// When `node` is no node id.
pub fn key(node: &str) -> Result<InstanceKey> {
    Ok(InstanceKey::new(service(), NodeId::new(node)?))
}

/// Opens a registry whose operations are bounded.
///
/// # Errors
/// When the URL is refused.
///
/// # Cancel safety
/// Safe.
pub async fn connect(url: &str) -> Result<Arc<dyn Registry>> {
    let target = Target::parse(url, None, Origin::Code)?;
    let drivers = Drivers::builtin().with_operation_limit(OPERATION_LIMIT);
    Ok(drivers.connect(&target).await?)
}

/// URL of a registry on the server for who connects to `via`: over TLS, unless that is the server.
fn url<B: Backend>(backend: &B, door: Option<&Door>, via: SocketAddr, namespace: &str) -> String {
    let url = backend.url(via, namespace);
    match door {
        Some(door) if via != backend.address() => {
            let mark = if url.contains('?') { "&" } else { "?" };
            format!("{url}{mark}ca={}", door.papers().path("ca.pem").display())
        }
        _ => url,
    }
}

/// The variables that the process at `place` is started with.
fn environment(place: usize, clock: Option<&Clock>) -> Vec<(&'static str, PathBuf)> {
    let own = clock.filter(|_| place == 0);
    own.map(Clock::environment).unwrap_or_default()
}

fn order(shape: Shape, registry: String, nodes: [&str; 2]) -> Order {
    Order {
        registry,
        service: SERVICE.to_owned(),
        nodes: nodes.map(str::to_owned).to_vec(),
        ttl: shape.ttl,
        follow: shape.follow,
    }
}
