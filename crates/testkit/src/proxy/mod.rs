//! A proxy on this machine whose faults are switched while it runs: of connections, and of
//! datagrams where they are asked for.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use std::time::Duration;
//! use waypost_testkit::proxy::{Direction, Link, Manner, Proxy};
//!
//! let proxy = Proxy::start("127.0.0.1:2379").await?;
//! println!("dial {} instead", proxy.address());
//! proxy.shape(Direction::Down, Link::default().with_latency(Duration::from_millis(200)));
//! proxy.behave(Manner::Hold);     // everything falls silent
//! proxy.behave(Manner::Forward);  // and goes on
//! proxy.reset();                  // every open connection is reset
//! # Ok(())
//! # }
//! ```

mod datagrams;
mod link;
mod namespaces;
mod pump;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

pub use link::{Direction, Link};
pub use namespaces::Proxies;

/// How the proxy treats connections as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// Passes them on, through the link of each direction.
    #[default]
    Forward,
    /// Accepts, and nothing passes and nothing closes, as behind a dead link. What waits goes on
    /// when the manner changes.
    Hold,
    /// Resets every open connection, and each new one as soon as it is accepted.
    Reset,
    /// Resets every open connection and does not listen, so that new ones are refused.
    Refuse,
}

#[derive(Debug, Clone)]
struct State {
    manner: Manner,
    upstream: String,
    up: Link,
    down: Link,
    /// Connections of an older generation are reset.
    generation: u64,
}

/// Forwards connections from a port of this machine to another address.
///
/// Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: Arc<Counts>,
    task: AbortHandle,
    relay: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    datagrams: AtomicUsize,
    open: AtomicUsize,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `upstream` (`host:port`), which need
    /// not be there yet.
    ///
    /// # Errors
    /// The system's, when no port can be had.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start(upstream: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State {
            manner: Manner::Forward,
            upstream: upstream.into(),
            up: Link::default(),
            down: Link::default(),
            generation: 0,
        });
        let counts = Arc::new(Counts::default());
        let accepting = accept(listener, address, seen, Arc::clone(&counts));
        Ok(Self {
            address,
            state,
            counts,
            task: tokio::spawn(accepting).abort_handle(),
            relay: None,
        })
    }

    /// As [`Proxy::start`], and forwards the datagrams that come to the port too, one answer to
    /// each. Their manner is the same, but there is no link for them.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start_with_datagrams(upstream: impl Into<String>) -> io::Result<Self> {
        let upstream = upstream.into();
        // The port that is free for connections may be taken for datagrams.
        for _ in 0..20 {
            let mut proxy = Self::start(upstream.clone()).await?;
            if let Ok(socket) = UdpSocket::bind(proxy.address).await {
                let counts = Arc::clone(&proxy.counts);
                let relay = datagrams::relay(socket, proxy.state.subscribe(), counts);
                proxy.relay = Some(tokio::spawn(relay).abort_handle());
                return Ok(proxy);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Where to dial, as `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes how connections are treated, open ones included.
    pub fn behave(&self, manner: Manner) {
        self.state.send_modify(|state| {
            state.manner = manner;
            if matches!(manner, Manner::Reset | Manner::Refuse) {
                state.generation += 1;
            }
        });
    }

    /// Changes what happens to bytes in a direction, on open connections too.
    #[expect(clippy::needless_pass_by_value, reason = "a link is made for the call")]
    pub fn shape(&self, direction: Direction, link: Link) {
        self.state.send_modify(|state| {
            if direction != Direction::Down {
                state.up = link.clone();
            }
            if direction != Direction::Up {
                state.down = link.clone();
            }
        });
    }

    /// Resets every open connection once; new ones are forwarded.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Sends new connections somewhere else; open ones stay where they are.
    pub fn point_to(&self, upstream: impl Into<String>) {
        let upstream = upstream.into();
        self.state.send_modify(|state| state.upstream = upstream);
    }

    /// Forwards everything unharmed again.
    pub fn mend(&self) {
        self.shape(Direction::Both, Link::default());
        self.behave(Manner::Forward);
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many datagrams came so far.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.counts.datagrams.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.relay.iter().for_each(AbortHandle::abort);
    }
}

/// The port, listened on or only kept from others.
enum Port {
    Open(TcpListener),
    /// `None` when it could not be taken back yet.
    Shut(Option<TcpSocket>),
}

/// How long until a port that could not be taken is tried again.
const AGAIN: Duration = Duration::from_millis(20);

impl Port {
    fn turn(self, address: SocketAddr, refusing: bool) -> Self {
        match self {
            Self::Open(listener) if refusing => {
                // A bound socket that does not listen: connections are refused, and nobody else
                // gets the port.
                drop(listener);
                Self::Shut(bind(address).ok())
            }
            Self::Shut(None) => Self::Shut(bind(address).ok()),
            Self::Shut(Some(socket)) if !refusing => {
                socket.listen(1024).map_or(Self::Shut(None), Self::Open)
            }
            port => port,
        }
    }

    async fn incoming(&self) -> Option<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.ok().map(|(client, _)| client),
            Self::Shut(Some(_)) => std::future::pending().await,
            Self::Shut(None) => {
                sleep(AGAIN).await;
                None
            }
        }
    }
}

/// Connections of before may still linger on the address.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts, and owns the connections.
async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    mut state: watch::Receiver<State>,
    counts: Arc<Counts>,
) {
    let mut connections = JoinSet::new();
    let mut port = Port::Open(listener);
    loop {
        let refusing = state.borrow_and_update().manner == Manner::Refuse;
        port = port.turn(address, refusing);
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            client = port.incoming() => if let Some(client) = client {
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(client, state.clone(), Arc::clone(&counts)));
            },
        }
    }
}

/// Counts while it lives.
struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn connection(client: TcpStream, mut state: watch::Receiver<State>, counts: Arc<Counts>) {
    counts.open.fetch_add(1, Ordering::SeqCst);
    let _counted = Counted(counts);
    let (manner, generation, upstream) = {
        let state = state.borrow_and_update();
        (state.manner, state.generation, state.upstream.clone())
    };
    // Refused too: it may have been in the listener's queue when that was closed.
    if matches!(manner, Manner::Reset | Manner::Refuse) {
        pump::reset(&client);
        return;
    }
    let Ok(upstream) = TcpStream::connect(upstream).await else {
        pump::reset(&client);
        return;
    };
    pump::join(client, upstream, state, generation).await;
}
