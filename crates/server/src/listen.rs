//! Accepting connections, and closing them without cutting anybody off.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use waypost_core::{Error, ErrorKind, Result};

use crate::front::Front;
use crate::owned::Owned;

/// How long a kept-alive HTTP/1 connection may be idle, and a request's head be on its way. Longer
/// than clients keep idle connections (60 s), so that a client never sends into one that closes.
const IDLE: Duration = Duration::from_secs(75);
/// How often a silent HTTP/2 peer is asked whether it is there, and how long it may take to answer.
const PING: Duration = Duration::from_secs(30);
/// The pause after the system refused a connection, most often for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on `address`: `host:port`, where an empty host is every interface and port 0 a free one.
///
/// # Errors
/// [`ErrorKind::Config`] with the address and what is wrong with it.
///
/// # Cancel safety
/// Safe.
pub(crate) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let failed = |cause: io::Error| {
        let why = match cause.kind() {
            io::ErrorKind::AddrInUse => ": another process listens there",
            io::ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
            io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
            _ => "",
        };
        Error::config(format!("cannot listen on {address:?}{why}")).with_source(cause)
    };
    let host_and_port = if address.starts_with(':') {
        format!("0.0.0.0{address}")
    } else {
        address.to_owned()
    };
    let listener = TcpListener::bind(&host_and_port).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Checks the form of an address to listen on, without listening.
///
/// # Errors
/// [`ErrorKind::Config`] with the address and the rule it breaks.
pub(crate) fn check(address: &str) -> Result<()> {
    let fault = |rule: &str| {
        let shown: String = address.chars().take(128).collect();
        Err(Error::config(format!("listen address {shown:?} {rule}")))
    };
    if address.contains("://") {
        return fault("is a URL; host:port is needed");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return fault("has no port; host:port is needed, and port 0 takes a free one");
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || port.parse::<u16>().is_err() {
        return fault("has no port from 0 to 65535");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return fault("has more than one `:`; put an IPv6 host in brackets");
    }
    if host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return fault("has white space or a control character in it");
    }
    Ok(())
}

/// A listener that accepts until it is closed. When dropped, everything is cut at once.
#[derive(Debug)]
pub(crate) struct Listener {
    closing: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<GracefulShutdown>,
    _owned: Owned,
}

impl Listener {
    /// Serves `front` on every connection.
    pub(crate) fn serve(listener: TcpListener, front: Front) -> Self {
        let (closing, closed) = watch::channel(false);
        let (cut, cut_off) = watch::channel(false);
        let acceptor = Acceptor {
            front,
            builder: builder(),
            graceful: GracefulShutdown::new(),
            cut: cut_off,
        };
        let accepting = tokio::spawn(acceptor.run(listener, closed));
        Self {
            closing,
            cut,
            _owned: Owned::of(&accepting),
            accepting,
        }
    }

    /// Stops accepting, tells every peer that its connection ends, and waits until what is under
    /// way is done. What is not done after `limit` is cut; tells how many connections that were.
    ///
    /// # Cancel safety
    /// When dropped, everything is cut at once.
    pub(crate) async fn close(mut self, limit: Duration) -> usize {
        self.closing.send_replace(true);
        let Ok(graceful) = (&mut self.accepting).await else {
            return 0;
        };
        tracing::debug!(connections = graceful.count(), "the listener is closed");
        if timeout(limit, graceful.shutdown()).await.is_ok() {
            return 0;
        }
        // Every connection holds one receiver, and the acceptor's is gone.
        let left = self.cut.receiver_count();
        self.cut.send_replace(true);
        left
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

struct Acceptor {
    front: Front,
    builder: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    cut: watch::Receiver<bool>,
}

impl Acceptor {
    async fn run(
        self,
        listener: TcpListener,
        mut closing: watch::Receiver<bool>,
    ) -> GracefulShutdown {
        loop {
            tokio::select! {
                () = closing.wait_for(|closing| *closing).map(drop) => break,
                accepted = listener.accept() => self.take(accepted).await,
            }
        }
        // Those whose connection the system has accepted already would be reset otherwise.
        while let Some(Ok(accepted)) = listener.accept().now_or_never() {
            self.take(Ok(accepted)).await;
        }
        self.graceful
    }

    async fn take(&self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, peer)) => self.connected(stream, peer),
            Err(error) => {
                tracing::debug!(%error, "a connection was refused");
                sleep(PAUSE).await;
            }
        }
    }

    fn connected(&self, stream: TcpStream, peer: SocketAddr) {
        // A small answer should not wait for the peer's acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let service = self.front.to(peer);
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = self.graceful.watch(connection);
        let mut cut = self.cut.clone();
        // The task ends with its connection, or when the listener's owner cuts it or is gone.
        tokio::spawn(async move {
            tokio::select! {
                result = connection => {
                    if let Err(error) = result {
                        tracing::debug!(%peer, error, "a connection failed");
                    }
                }
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

/// Dials `address` once, to see that somebody answers there.
///
/// # Errors
/// [`ErrorKind::Unavailable`] with the address and why not.
///
/// # Cancel safety
/// Safe.
pub(crate) async fn dial(address: &str, limit: Duration) -> Result<()> {
    let fault = |why: String| {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "nobody answers at the advertised address {address} ({why}), so callers would find \
                 a dead node; advertise another one (.advertise, --server_advertise), or leave the \
                 check out with .dial_check(false) where this machine cannot reach it"
            ),
        )
    };
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(cause)) => Err(fault(cause.to_string())),
        Err(_) => Err(fault(format!("no answer within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_follow_the_rule() {
        for good in [
            "0.0.0.0:0",
            ":8080",
            "localhost:80",
            "[::1]:0",
            "[::]:65535",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "8080",
            "x:",
            "x:+1",
            "x:65536",
            "::1:80",
            "http://x:80",
            "a b:80",
        ] {
            let error = check(bad).expect_err(bad).to_string();
            assert!(error.starts_with("listen address "), "{error}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let (_held, bound) = bind("127.0.0.1:0").await.expect("free");
        let error = bind(&bound.to_string()).await.expect_err("taken");
        let told = format!("cannot listen on \"{bound}\": another process listens there");
        assert_eq!(error.to_string(), told);
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn an_address_where_nobody_answers_is_no_proof() {
        let (held, bound) = bind("127.0.0.1:0").await.expect("free");
        let limit = Duration::from_secs(5);
        assert!(dial(&bound.to_string(), limit).await.is_ok());
        drop(held);
        let error = dial(&bound.to_string(), limit).await.expect_err("closed");
        assert!(error.to_string().contains(&bound.to_string()), "{error}");
    }
}
