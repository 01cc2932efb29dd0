//! From a node's address to a connection that speaks HTTP.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waypost_core::Address;

use crate::body::Sending;
use crate::error::{Error, ErrorKind, Result};

/// How often a quiet HTTP/2 connection is asked whether it still lives, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_LIMIT: Duration = Duration::from_secs(3);

/// Which HTTP a node is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    One,
    Two,
}

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) limit: Duration,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) largest_head: usize,
}

/// The sending half of a connection; the other half runs in a task of its own.
pub(crate) enum Sender {
    One(http1::SendRequest<Sending>),
    Two(http2::SendRequest<Sending>),
}

impl Connector {
    /// Connects within the limit. Nothing of a call is sent.
    pub(crate) async fn connect(&self, address: &Address, version: Version) -> Result<Sender> {
        let failed = |error: crate::BoxError| {
            Error::new(ErrorKind::Connect, format!("no connection to {address}")).with_source(error)
        };
        match timeout(self.limit, self.open(address, version)).await {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(Error::new(
                ErrorKind::Connect,
                format!("no connection to {address} within {:?}", self.limit),
            )),
        }
    }

    async fn open(&self, address: &Address, version: Version) -> Result<Sender, crate::BoxError> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return self.speak(stream, version).await;
        };
        let mut config = ClientConfig::clone(tls);
        config.alpn_protocols = vec![match version {
            Version::One => b"http/1.1".to_vec(),
            Version::Two => b"h2".to_vec(),
        }];
        let name = ServerName::try_from(address.host().to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        self.speak(stream, version).await
    }

    async fn speak<S>(&self, stream: S, version: Version) -> Result<Sender, crate::BoxError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        match version {
            Version::One => {
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(self.largest_head)
                    .handshake(io)
                    .await?;
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
                Ok(Sender::One(sender))
            }
            Version::Two => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_LIMIT)
                    .max_header_list_size(self.largest_head.min(1 << 20) as u32)
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .handshake(io)
                    .await?;
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
                Ok(Sender::Two(sender))
            }
        }
    }
}
