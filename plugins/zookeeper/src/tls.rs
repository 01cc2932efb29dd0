//! What TLS is spoken with.

use rustls_pki_types::ServerName;
use waypost_core::{Error, Result, Target};
use waypost_plugin_kit::OptionReader;
use waypost_plugin_kit::tls::Material;
use zookeeper_client::TlsOptions;

use crate::error;

/// What TLS needs, as the client takes it and as it was given.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) options: TlsOptions,
    pub(crate) material: Material,
}

impl Tls {
    /// What the target and the files that it names say; nothing where TLS is not spoken.
    pub(crate) fn read(
        target: &Target,
        reader: &OptionReader<'_>,
        addresses: &[String],
    ) -> Result<Option<Self>> {
        let Some(material) = Material::wanted(target, reader)? else {
            return Ok(None);
        };
        let Some(ca) = &material.ca else {
            return Err(authority_missing());
        };
        for address in addresses {
            let host = address.rsplit_once(':').map_or("", |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if ServerName::try_from(host).is_err() {
                return Err(Error::config(format!(
                    "registry address {address:?} cannot be the name in a certificate"
                )));
            }
        }
        let built = TlsOptions::new().with_pem_ca(&String::from_utf8_lossy(ca));
        let built = match &material.identity {
            None => built,
            Some(identity) => built.and_then(|tls| {
                let (cert, key) = (&identity.cert, &identity.key);
                tls.with_pem_identity(
                    &String::from_utf8_lossy(cert),
                    &String::from_utf8_lossy(key),
                )
            }),
        };
        match built {
            Ok(options) => Ok(Some(Self { options, material })),
            Err(told) => Err(error::translate(&told)),
        }
    }
}

fn authority_missing() -> Error {
    Error::config("TLS needs option `ca`, the certificates of the authorities to trust")
}
