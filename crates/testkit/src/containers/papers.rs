//! Certificates for servers and their clients, made when a test begins.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use waypost_core::{Error, Result};

/// The names that a server's certificate is good for, and by which this machine reaches it. That
/// of the local host is left out: who dials it meets a certificate of a wrong name.
const SERVER: &[&str] = &["127.0.0.1"];

/// One authority and what it issued, as PEM files in a directory that goes with this value.
///
/// From the start there are `ca.pem`, `server.pem` (good for 127.0.0.1 only), `client.pem` (for
/// `client`), and `expired.pem`, which is the server's of long ago; beside each but the first
/// stands its key, as `server-key.pem`. Another value is another authority.
#[derive(Debug)]
pub struct Papers {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    /// Makes an authority, and what it issues to begin with.
    ///
    /// # Errors
    /// `Internal` when the files cannot be written.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(fault)?;
        let mut params = CertificateParams::default();
        // Authorities of one name would be taken for one with a broken signature.
        let name = folder.path().file_name().unwrap_or_default();
        let name = format!("authority {}", name.to_string_lossy());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(fault)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(fault)?;
        let papers = Self { folder, issuer };
        papers.write("ca.pem", &papers.issuer.pem())?;
        papers.issue("server", SERVER)?;
        papers.issue("client", &["client"])?;
        let mut expired = params_for("expired", SERVER)?;
        expired.not_before = date_time_ymd(2020, 1, 1);
        expired.not_after = date_time_ymd(2020, 2, 1);
        papers.sign("expired", expired)?;
        Ok(papers)
    }

    /// Issues `<file>.pem`, good for `names`, with its key `<file>-key.pem`. What stood there
    /// before is replaced.
    ///
    /// # Errors
    /// As [`Papers::new`].
    pub fn issue(&self, file: &str, names: &[&str]) -> Result<()> {
        self.sign(file, params_for(file, names)?)
    }

    /// Where a file is, for whoever reads it by its path.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What a client's URL says of its authority: `ca=PATH`.
    #[must_use]
    pub fn trusting(&self) -> String {
        format!("ca={}", self.path("ca.pem").display())
    }

    /// What the URL of a client says that shows `<file>.pem` too: `ca=PATH&cert=PATH&key=PATH`.
    #[must_use]
    pub fn showing(&self, file: &str) -> String {
        format!("{}&{}", self.trusting(), self.identity(file))
    }

    /// What shows `<file>.pem` alone: `cert=PATH&key=PATH`.
    #[must_use]
    pub fn identity(&self, file: &str) -> String {
        let path = |end: &str| self.path(&format!("{file}{end}"));
        let (cert, key) = (path(".pem"), path("-key.pem"));
        format!("cert={}&key={}", cert.display(), key.display())
    }

    /// What a file holds.
    ///
    /// # Errors
    /// `Internal` when there is no such file.
    pub fn text(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.path(file)).map_err(fault)
    }

    /// A server's files with this certificate: `server.pem` and `server-key.pem` in its folder, and
    /// what they are to hold.
    ///
    /// # Errors
    /// As [`Papers::text`].
    pub fn of_server(&self, folder: &str, file: &str) -> Result<Vec<(String, String)>> {
        let half = |end: &str| {
            let text = self.text(&format!("{file}{end}"))?;
            Ok((format!("{folder}/server{end}"), text))
        };
        [".pem", "-key.pem"].into_iter().map(half).collect()
    }

    /// Writes another file beside the certificates: a password, say.
    ///
    /// # Errors
    /// As [`Papers::new`].
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        std::fs::write(self.path(file), text).map_err(fault)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Result<()> {
        let key = KeyPair::generate().map_err(fault)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(fault)?;
        self.write(&format!("{file}.pem"), &certificate.pem())?;
        self.write(&format!("{file}-key.pem"), &key.serialize_pem())?;
        // etcd signs its tokens with one half and verifies them with the other.
        self.write(&format!("{file}-public.pem"), &key.public_key_pem())
    }
}

fn params_for(common_name: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(fault)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(params)
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        waypost_core::ErrorKind::Internal,
        "the certificates cannot be made",
    )
    .with_source(error)
}
