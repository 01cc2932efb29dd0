//! From a node's address to a connection that speaks HTTP.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};
#[cfg(feature = "tls")]
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
#[cfg(feature = "tls")]
use tokio_rustls::TlsConnector;
use waypost_core::Address;

use crate::BoxError;
use crate::body::Sending;
use crate::error::{Error, ErrorKind, Result};
use crate::version::Version;

/// How long what was sent may stay without the other machine's word that it arrived.
const UNHEARD: Duration = Duration::from_secs(3);
/// When a quiet connection is asked whether the other machine is still there, and again, and how often.
const QUIET: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(2);
const ASKED: u32 = 3;

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) limit: Duration,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) largest_head: usize,
}

/// A look at a connection that something else reads.
#[derive(Debug, Clone)]
pub(crate) struct Ear(Arc<OwnedFd>);

impl Ear {
    /// Whether the other side has hung up, though nobody may have noticed yet. A call that is sent
    /// over such a connection may have run for all that its caller knows.
    pub(crate) fn hears_the_end(&self) -> bool {
        let mut byte = [0; 1];
        let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&*self.0, &mut byte, look) {
            Ok((0, _)) => true,
            Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => false,
            Err(_) => true,
        }
    }
}

/// An HTTP/1.1 connection. Dropped, it is closed at once, whatever is under way on it.
#[derive(Debug)]
pub(crate) struct One {
    pub(crate) sender: http1::SendRequest<Sending>,
    pub(crate) ear: Ear,
    task: AbortHandle,
}

impl Drop for One {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs what an HTTP/2 connection does for each call, which is large and would be moved several
/// times on its way into a task.
#[derive(Debug, Clone, Copy)]
struct Boxing;

impl<F> Executor<F> for Boxing
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        tokio::spawn(Box::pin(work));
    }
}

/// How many connections are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live(Arc<AtomicU32>);

impl Live {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Alive {
        self.0.fetch_add(1, Ordering::Relaxed);
        Alive(self.clone())
    }
}

/// One of the open ones.
struct Alive(Live);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connector {
    /// Connects within the limit, to speak HTTP/1.1. Nothing of a call is sent.
    pub(crate) async fn one(&self, address: &Address, live: &Live) -> Result<One> {
        self.within(address, async {
            let (stream, ear) = self.open(address, Version::One).await?;
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(self.largest_head)
                .handshake(TokioIo::new(stream))
                .await?;
            let alive = live.enter();
            let task = tokio::spawn(async move {
                let _alive = alive;
                ended(connection.await);
            });
            let task = task.abort_handle();
            Ok(One { sender, ear, task })
        })
        .await
    }

    /// Connects within the limit, to speak HTTP/2. Nothing of a call is sent. The connection ends
    /// with its last sender and its last answer.
    pub(crate) async fn two(
        &self,
        address: &Address,
    ) -> Result<(http2::SendRequest<Sending>, Ear)> {
        self.within(address, async {
            let (stream, ear) = self.open(address, Version::Two).await?;
            let (sender, connection) = http2::Builder::new(Boxing)
                .max_header_list_size(self.largest_head.min(1 << 20) as u32)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .handshake(TokioIo::new(stream))
                .await?;
            tokio::spawn(async move { ended(connection.await) });
            Ok((sender, ear))
        })
        .await
    }

    async fn within<T>(
        &self,
        address: &Address,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T> {
        match timeout(self.limit, work).await {
            Ok(made) => made.map_err(|error| {
                let text = format!("no connection to {address}");
                Error::new(ErrorKind::Connect, text).with_source(error)
            }),
            Err(_) => Err(Error::new(
                ErrorKind::Connect,
                format!("no connection to {address} within {:?}", self.limit),
            )),
        }
    }

    async fn open(
        &self,
        address: &Address,
        version: Version,
    ) -> Result<(Box<dyn Stream>, Ear), BoxError> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        // A machine that is gone says nothing. HTTP/2 pings would find that out too, but gRPC
        // servers in Go hang up on who pings more often than once in five minutes.
        sockopt::set_tcp_user_timeout(&stream, UNHEARD.as_millis() as u32)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, QUIET)?;
        sockopt::set_tcp_keepintvl(&stream, ASK_AGAIN)?;
        sockopt::set_tcp_keepcnt(&stream, ASKED)?;
        let ear = Ear(Arc::new(rustix::io::fcntl_dupfd_cloexec(&stream, 0)?));
        Ok((self.sealed(stream, address, version).await?, ear))
    }

    /// The stream in TLS, where that is spoken.
    #[cfg(feature = "tls")]
    async fn sealed(
        &self,
        stream: TcpStream,
        address: &Address,
        version: Version,
    ) -> Result<Box<dyn Stream>, BoxError> {
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let mut config = ClientConfig::clone(tls);
        config.alpn_protocols = vec![match version {
            Version::One => b"http/1.1".to_vec(),
            Version::Two => b"h2".to_vec(),
        }];
        let name = ServerName::try_from(address.host().to_owned())?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "as where there is TLS")]
    async fn sealed(
        &self,
        stream: TcpStream,
        _: &Address,
        _: Version,
    ) -> Result<Box<dyn Stream>, BoxError> {
        Ok(Box::new(stream))
    }

    /// Whether nodes are spoken to in TLS.
    pub(crate) fn is_sealed(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended");
    }
}
