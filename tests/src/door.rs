//! A door that speaks TLS, before a server that does not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use waypost_testkit::containers::Papers;

use crate::Result;

/// Passes on to a server what comes over TLS. What it shows can be changed while it runs, and counts
/// for new connections. Dropping it ends it.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    papers: Papers,
    protocols: Vec<Vec<u8>>,
    shown: watch::Sender<Arc<ServerConfig>>,
    task: AbortHandle,
}

impl Door {
    /// Opens a door to `server`, which speaks these protocols (as TLS names them), and shows a good
    /// certificate.
    ///
    /// # Errors
    /// When there is no port, or the certificates cannot be made.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open(server: SocketAddr, protocols: &[&str]) -> Result<Self> {
        let papers = Papers::new()?;
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        let protocols: Vec<Vec<u8>> = protocols.collect();
        let config = config(&papers, "server", None, &protocols)?;
        let (shown, seen) = watch::channel(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            address: listener.local_addr()?,
            papers,
            protocols,
            shown,
            task: tokio::spawn(serve(listener, server, seen)).abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its clients know: the authority that they trust is there.
    #[must_use]
    pub fn papers(&self) -> &Papers {
        &self.papers
    }

    /// Shows the certificate `file` of `papers`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn show(&self, papers: &Papers, file: &str) -> Result<()> {
        let config = config(papers, file, None, &self.protocols)?;
        self.shown.send_replace(Arc::new(config));
        Ok(())
    }

    /// Shows a certificate that was not there before, and is good.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn renew(&self) -> Result<()> {
        self.papers.issue("server", &["127.0.0.1"])?;
        self.show(&self.papers, "server")
    }

    /// Shows the good certificate, and demands one of its own authority's.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn demand(&self) -> Result<()> {
        let ca = self.papers.text("ca.pem")?;
        let config = config(&self.papers, "server", Some(&ca), &self.protocols)?;
        self.shown.send_replace(Arc::new(config));
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(
    papers: &Papers,
    file: &str,
    demanded: Option<&str>,
    protocols: &[Vec<u8>],
) -> Result<ServerConfig> {
    let certificate = papers.text(&format!("{file}.pem"))?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = papers.text(&format!("{file}-key.pem"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match demanded {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = protocols.to_vec();
    Ok(config)
}

async fn serve(
    listener: TcpListener,
    server: SocketAddr,
    shown: watch::Receiver<Arc<ServerConfig>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let acceptor = TlsAcceptor::from(Arc::clone(&shown.borrow()));
        connections.spawn(async move {
            // Who is refused, or refuses, hangs up; so does this.
            let _ = pass(acceptor, stream, server).await;
        });
    }
}

async fn pass(acceptor: TlsAcceptor, stream: TcpStream, server: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inside = acceptor.accept(stream).await?;
    let mut outside = TcpStream::connect(server).await?;
    outside.set_nodelay(true)?;
    copy_bidirectional(&mut inside, &mut outside).await?;
    Ok(())
}
