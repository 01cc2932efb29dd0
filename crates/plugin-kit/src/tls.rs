//! TLS: the material that the options `ca`, `cert` and `key` name, and why a handshake failed.

use std::fmt;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use waypost_core::{Error, OptionSpec, Result, Target};

use crate::{OptionReader, option};

/// Names the authorities to trust.
pub const CA: OptionSpec = option(
    "ca",
    "PATH",
    "",
    "PEM certificates of the authorities to trust; the system's without it",
);
/// Names what is shown to the server.
pub const CERT: OptionSpec = option(
    "cert",
    "PATH",
    "",
    "PEM certificate that is shown to the server; needs `key`",
);
/// Names the other half of [`CERT`].
pub const KEY: OptionSpec = option("key", "PATH", "", "PEM private key of `cert`");
/// Asks for TLS.
pub const TLS: OptionSpec = option(
    "tls",
    "true|false",
    "false",
    "speak TLS; `https://` before an address, `ca` or `cert` mean the same",
);

/// PEM texts that were found to hold what they should.
///
/// Material that is incomplete or unreadable is an error: nothing falls back to plaintext.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// Certificates of the authorities to trust; the system's where there are none.
    pub ca: Option<Vec<u8>>,
    /// What to show to the server.
    pub identity: Option<Identity>,
}

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with its chain.
    pub cert: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl Material {
    /// What TLS is spoken with, nothing where it is not: it is asked for by `https://`, by the option
    /// `tls`, and by naming any material. The driver's table must have the four options.
    ///
    /// # Errors
    /// As [`Material::load`], and `Config` when `tls=false` contradicts the rest.
    pub fn wanted(target: &Target, options: &OptionReader<'_>) -> Result<Option<Self>> {
        let material = Self::load(options)?;
        let asked = options.flag("tls")?;
        if options.is_given("tls") && !asked && (material.is_some() || target.tls()) {
            return Err(Error::config(
                "`tls=false` contradicts `https://` and the options `ca`, `cert` and `key`",
            ));
        }
        let empty = || Self {
            ca: None,
            identity: None,
        };
        Ok(material.or_else(|| (asked || target.tls()).then(empty)))
    }

    /// Loads what the options name; nothing when they name nothing. The driver's table must have
    /// `ca`, `cert` and `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config): `cert` without `key` or the other
    /// way round, a file that cannot be read, a file without the PEM block it should hold.
    pub fn load(options: &OptionReader<'_>) -> Result<Option<Self>> {
        if options.text("cert").is_some() != options.text("key").is_some() {
            return Err(Error::config(
                "options `cert` and `key` belong together; one of them is missing",
            ));
        }
        let ca = certificates(options, "ca")?;
        let cert = certificates(options, "cert")?;
        let key = private_key(options)?;
        let identity = cert.zip(key).map(|(cert, key)| Identity { cert, key });
        Ok((ca.is_some() || identity.is_some()).then_some(Self { ca, identity }))
    }
}

/// Why a server that has never answered closes a connection after the handshake. Since TLS 1.3 it
/// judges our certificate only then, and its alert is lost when the first request meets the end of
/// the connection.
#[must_use]
pub fn closed(shows: bool) -> &'static str {
    match shows {
        false => {
            "the server closed the connection after the TLS handshake; it demands a client \
             certificate, most likely: options `cert` and `key` name one"
        }
        true => {
            "the server closed the connection after the TLS handshake; it refuses the certificate \
             of option `cert`, most likely: it has expired, or its authority is not trusted there"
        }
    }
}

fn certificates(options: &OptionReader<'_>, option: &str) -> Result<Option<Vec<u8>>> {
    let Some(pem) = options.file(option)? else {
        return Ok(None);
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|error| fault(options, option, "CERTIFICATE").with_source(error))?;
        count += 1;
    }
    if count == 0 {
        return Err(fault(options, option, "CERTIFICATE"));
    }
    Ok(Some(pem))
}

fn private_key(options: &OptionReader<'_>) -> Result<Option<Vec<u8>>> {
    let Some(pem) = options.file("key")? else {
        return Ok(None);
    };
    // The cause is left out: it could quote what stands in the file.
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(Some(pem)),
        Err(_) => Err(fault(options, "key", "PRIVATE KEY")),
    }
}

fn fault(options: &OptionReader<'_>, option: &str, block: &str) -> Error {
    let path = options.text(option).unwrap_or_default();
    Error::config(format!(
        "option `{option}`: {path} holds no valid PEM block {block}"
    ))
}

/// What rustls and its callers say of a failed handshake, and the rule that was broken. The first
/// row that fits counts: a refusal of ours goes before the alert that we sent about it.
const REASONS: &[(&str, &str)] = &[
    (
        "UnknownIssuer",
        "the server's certificate was issued by an authority that is not trusted; \
         option `ca` names the ones to trust",
    ),
    (
        "certificate expired",
        "the server's certificate has expired",
    ),
    (
        "certificate not valid yet",
        "the server's certificate is not valid yet; one of the clocks is wrong",
    ),
    (
        "certificate not valid for name",
        "the server's certificate is made out to other names than this address",
    ),
    (
        "invalid peer certificate",
        "the server's certificate is not one for a server, or is broken",
    ),
    (
        "alert: CertificateRequired",
        "the server demands a client certificate; options `cert` and `key` name one",
    ),
    (
        "alert: CertificateExpired",
        "the server says that the certificate of option `cert` has expired",
    ),
    (
        "alert: UnknownCA",
        "the server does not trust the authority that issued the certificate of option `cert`",
    ),
    (
        "alert: BadCertificate",
        "the server refuses the certificate of option `cert`, or demands one and was shown none",
    ),
    (
        "alert: CertificateUnknown",
        "the server refuses the certificate of option `cert`: it has expired, or the server does \
         not trust its authority",
    ),
    (
        "alert: ProtocolVersion",
        "the server speaks another version of TLS; 1.2 or 1.3 is needed",
    ),
    (
        "received fatal alert",
        "the server refused the TLS handshake",
    ),
    (
        "InvalidContentType",
        "the server does not speak TLS on this port",
    ),
    (
        "tls handshake eof",
        "the server closed the connection during the TLS handshake; it may not speak TLS on this \
         port",
    ),
];

/// Why a TLS handshake failed, as the end of a sentence that began with the peer; nothing when
/// `told`, the text of the innermost cause, is about something else.
#[must_use]
pub fn reason(told: &str) -> Option<&'static str> {
    let fits = |(needle, _): &&(&str, &str)| told.contains(needle);
    REASONS.iter().find(fits).map(|(_, reason)| *reason)
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity)
            .finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use waypost_core::{Driver, Profile};

    use super::*;

    const DRIVER: Driver = Driver {
        name: "trial",
        summary: "",
        default_port: None,
        default_address: "",
        profile: Profile {
            driver: "trial",
            least_ttl: Duration::ZERO,
            slack: Duration::ZERO,
            writable: false,
            owned: false,
            tells_loss: false,
            native_watch: false,
            remote: false,
            names_itself: true,
            one_step: true,
            writes_at_once: 256,
        },
        options: &[CA, CERT, super::KEY, TLS],
        connect: |_| Box::pin(std::future::ready(Err(Error::config("never")))),
    };

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nS3CR\n-----END PRIVATE KEY-----\n";

    fn load(files: &[(&str, Option<&str>)]) -> Result<Option<Material>> {
        let dir = tempfile::tempdir().expect("dir");
        let mut target = Target::new("trial").expect("target");
        for (option, content) in files {
            let path = dir.path().join(format!("{option}.pem"));
            if let Some(content) = content {
                std::fs::write(&path, content).expect("write");
            }
            target = target.with_option(*option, path.to_str().expect("utf-8"));
        }
        Material::load(&OptionReader::new(&DRIVER, &target).expect("reader"))
    }

    #[test]
    fn whole_material_is_loaded() {
        assert_eq!(load(&[]).expect("none"), None);
        let ca = load(&[("ca", Some(CERTIFICATE))])
            .expect("ca")
            .expect("some");
        assert!(ca.ca.is_some() && ca.identity.is_none());
        let files = [
            ("ca", Some(CERTIFICATE)),
            ("cert", Some(CERTIFICATE)),
            ("key", Some(KEY)),
        ];
        let all = load(&files).expect("all").expect("some");
        assert_eq!(all.identity.as_ref().expect("identity").key, KEY.as_bytes());
        assert!(!format!("{all:?}").contains("S3CR"));
    }

    #[test]
    fn what_rustls_says_becomes_the_rule_that_was_broken() {
        for (told, needle) in [
            ("invalid peer certificate: UnknownIssuer", "`ca`"),
            (
                "invalid peer certificate: certificate expired: verification time 2 (UNIX)",
                "has expired",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is",
                "other names",
            ),
            ("invalid peer certificate: BadEncoding", "broken"),
            ("received fatal alert: CertificateRequired", "demands"),
            (
                "received fatal alert: CertificateExpired",
                "`cert` has expired",
            ),
            ("received fatal alert: UnknownCA", "does not trust"),
            ("received fatal alert: HandshakeFailure", "refused"),
            (
                "received corrupt message of type InvalidContentType",
                "not speak TLS",
            ),
            ("tls handshake eof", "not speak TLS"),
        ] {
            let reason = reason(told).expect(told);
            assert!(reason.contains(needle), "{told}: {reason}");
            assert!(!reason.ends_with('.') && reason.starts_with(char::is_lowercase));
        }
        assert_eq!(reason("Connection refused (os error 111)"), None);
    }

    #[test]
    fn partial_or_broken_material_is_an_error_that_names_it() {
        let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        for (files, needle) in [
            (vec![("cert", Some(CERTIFICATE))], "`cert` and `key`"),
            (vec![("key", Some(KEY))], "`cert` and `key`"),
            (vec![("ca", None)], "ca.pem cannot be read"),
            (
                vec![("ca", Some("hello"))],
                "ca.pem holds no valid PEM block CERTIFICATE",
            ),
            (
                vec![("ca", Some(broken))],
                "ca.pem holds no valid PEM block CERTIFICATE",
            ),
            (
                vec![("cert", Some(CERTIFICATE)), ("key", Some(CERTIFICATE))],
                "key.pem holds no valid PEM block PRIVATE KEY",
            ),
        ] {
            let error = load(&files).expect_err(needle).to_string();
            assert!(error.contains(needle), "{error}");
        }
    }
}
