//! A TLS handshake of our own, with a server that opens no session: the client does not tell why.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use waypost_plugin_kit::tls::{self, Material};

/// What shaking hands needs. Nothing where the material does not fit together; the client has
/// refused it before, then.
pub(crate) fn config(material: &Material) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(material.ca.as_deref()?));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots);
    let config = match &material.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(&identity.key).ok()?;
            let shown = certificates(&identity.cert);
            builder.with_client_auth_cert(shown, key).ok()?
        }
    };
    Some(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

/// The rule that the handshake breaks, if it does. Waits as long as `stream` does.
pub(crate) fn broken_rule(
    mut stream: TcpStream,
    host: &str,
    config: &Arc<ClientConfig>,
) -> Option<&'static str> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host).ok()?.to_owned();
    let mut connection = ClientConnection::new(Arc::clone(config), name).ok()?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    tls::reason("tls handshake eof")
                }
                _ => tls::reason(&error.to_string()),
            };
        }
    }
    // A server judges our certificate after we are done, and says so before its first answer.
    let mut both = rustls::Stream::new(&mut connection, &mut stream);
    let asked = both.write_all(b"srvr").and_then(|()| both.read(&mut [0]));
    asked
        .err()
        .and_then(|error| tls::reason(&error.to_string()))
}
