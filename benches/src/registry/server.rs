//! The etcd that is measured on.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waypost_testkit::containers::{ETCD, Server as Container};

/// A running etcd: the one that the environment names, else a container of our own.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    /// Ends with the bench.
    _container: Option<Container>,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        if let Ok(address) = std::env::var(ETCD.address_variable) {
            let _container = None;
            return Ok(Self {
                address,
                _container,
            });
        }
        let container = Container::start(&ETCD).await?;
        Ok(Self {
            address: container.address(),
            _container: Some(container),
        })
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How many watchers the server has.
    pub(crate) async fn watchers(&self) -> Result<f64> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let name = "etcd_debugging_mvcc_watcher_total ";
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.with_context(|| format!("the server tells no {}", name.trim()))?;
        Ok(value.trim().parse()?)
    }
}
