//! Speaks TLS to a server under test, whatever certificate it shows.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use waypost_core::{Error, ErrorKind, Result};

use super::Papers;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows the client certificate of some [`Papers`] to who asks for one.
#[derive(Clone)]
pub(super) struct Caller(Arc<ClientConfig>);

impl Caller {
    pub(super) fn new(papers: &Papers) -> Result<Self> {
        let fault = |text: &'static str| Error::new(ErrorKind::Internal, text);
        let certificate = CertificateDer::from_pem_slice(papers.text("client.pem")?.as_bytes())
            .map_err(|_| fault("the client's certificate is no PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(papers.text("client-key.pem")?.as_bytes())
            .map_err(|_| fault("the client's key is no PEM"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                    .with_client_auth_cert(vec![certificate], key)
            })
            .map(|config| Self(Arc::new(config)))
            .map_err(|error| fault("the client cannot speak TLS").with_source(error))
    }

    /// What the server at this port of this machine answers to `question`.
    pub(super) async fn ask(&self, port: u16, question: &'static str) -> io::Result<String> {
        let config = Arc::clone(&self.0);
        on_a_thread(move || {
            let (mut connection, mut stream) = dial(port, config)?;
            let mut both = rustls::Stream::new(&mut connection, &mut stream);
            both.write_all(question.as_bytes())?;
            let mut answer = Vec::new();
            // A server that hangs up without a good-bye has answered all the same.
            let _ = both.take(1 << 16).read_to_end(&mut answer);
            Ok(String::from_utf8_lossy(&answer).into_owned())
        })
        .await
    }

    /// The certificate that the server at this port of this machine shows, as DER.
    pub(super) async fn certificate(&self, port: u16) -> io::Result<Vec<u8>> {
        let config = Arc::clone(&self.0);
        on_a_thread(move || {
            let (mut connection, mut stream) = dial(port, config)?;
            while connection.is_handshaking() {
                connection.complete_io(&mut stream)?;
            }
            let shown = connection.peer_certificates().and_then(<[_]>::first);
            shown
                .map(|certificate| certificate.to_vec())
                .ok_or_else(|| io::Error::other("the server shows no certificate"))
        })
        .await
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

fn dial(port: u16, config: Arc<ClientConfig>) -> io::Result<(ClientConnection, TcpStream)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok((connection, stream))
}

/// Believes everybody: a server with a bad certificate serves, too, and that is what is asked here.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
