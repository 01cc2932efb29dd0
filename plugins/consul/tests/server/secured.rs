//! TLS, with certificates of our own.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use waypost_core::{ErrorKind, Registry, WatchScope};
use waypost_testkit::Missing;
use waypost_testkit::containers::{CONSUL, Server};
use waypost_testkit::proxy::Proxy;

use crate::support::{SOON, Verdict, given, instance, laws, name, open, register, snapshot, watch};

laws! {
    an_agent_is_believed_by_its_authority_alone,
    a_client_shows_its_certificate,
    over_tls_everything_shares_one_connection,
}

/// PEM files of one authority.
struct Papers(tempfile::TempDir);

impl Papers {
    fn make() -> Self {
        let papers = Self(tempfile::tempdir().expect("a directory"));
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        papers.write("ca.pem", &issuer.pem());
        for (file, host) in [("server", "127.0.0.1"), ("client", "client")] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            papers.write(&format!("{file}.pem"), &certificate.pem());
            papers.write(&format!("{file}-key.pem"), &key.serialize_pem());
        }
        papers
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("written");
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn option(&self, key: &str, file: &str) -> String {
        format!("{key}={}", self.path(file).display())
    }
}

const FOLDER: &str = "/var/lib/consul";

/// An agent that speaks TLS on its port. It is started without, given its papers, and started
/// again.
async fn secured(papers: &Papers, more: &str) -> Result<Server, Missing> {
    let folder = format!("-config-dir={FOLDER}");
    let arguments = ["-dev", "-log-level=warn", "-client=0.0.0.0", &folder];
    let server = Server::start_with(&CONSUL, &arguments).await?;
    let config = format!(
        r#"ports {{ http = -1 https = 8500 }} ca_file = "{FOLDER}/ca.pem" cert_file = "{FOLDER}/server.pem" key_file = "{FOLDER}/server-key.pem" {more}"#
    );
    papers.write("tls.hcl", &config);
    let (from, to) = (papers.0.path().display(), server.id());
    docker(&["cp", &format!("{from}/."), &format!("{to}:{FOLDER}/")]).await;
    server.kill().await.expect("killed");
    docker(&["start", to]).await;
    Ok(server)
}

async fn docker(arguments: &[&str]) {
    let done = Command::new("docker")
        .args(arguments)
        .output()
        .await
        .expect("docker");
    assert!(done.status.success(), "{arguments:?}: {done:?}");
}

/// Waits until the agent serves.
async fn served(registry: &dyn Registry) {
    let start = Instant::now();
    loop {
        let Err(error) = registry.services().await else {
            return;
        };
        assert!(start.elapsed() < SOON, "{}", error.chain());
        sleep(Duration::from_millis(100)).await;
    }
}

async fn an_agent_is_believed_by_its_authority_alone() -> Verdict {
    let papers = Papers::make();
    let server = given!(secured(&papers, "").await);
    let address = server.address();
    let ca = papers.option("ca", "ca.pem");
    let registry = open(&format!("consul://{address}?{ca}")).await;
    served(&*registry).await;
    let one = instance("tls", 1);
    let mut lease = register(&*registry, &one).await;
    lease.renew().await.expect("renewed");
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert_eq!(snapshot(&mut watcher).await.len(), 1);

    let other = Papers::make();
    let port = address.rsplit(':').next().expect("a port");
    for (url, needle) in [
        (
            format!("consul://{address}?{}", other.option("ca", "ca.pem")),
            "certificate",
        ),
        (format!("consul://{address}?tls=true"), "certificate"),
        (format!("consul://localhost:{port}?{ca}"), "certificate"),
    ] {
        let error = open(&url).await.lookup(&name("tls")).await.expect_err(&url);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.chain().contains(needle), "{}", error.chain());
    }
    let plain = open(&format!("consul://{address}")).await;
    let error = plain.lookup(&name("tls")).await.expect_err("plaintext");
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("https://"), "{error}");
    Verdict::Kept
}

async fn a_client_shows_its_certificate() -> Verdict {
    let papers = Papers::make();
    let server = given!(secured(&papers, "verify_incoming_https = true").await);
    let ca = papers.option("ca", "ca.pem");
    let (cert, key) = (
        papers.option("cert", "client.pem"),
        papers.option("key", "client-key.pem"),
    );
    let known = open(&format!("consul://{}?{ca}&{cert}&{key}", server.address())).await;
    served(&*known).await;
    let unknown = open(&format!("consul://{}?{ca}", server.address())).await;
    let error = unknown
        .lookup(&name("tls"))
        .await
        .expect_err("no certificate");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Verdict::Kept
}

async fn over_tls_everything_shares_one_connection() -> Verdict {
    let papers = Papers::make();
    let server = given!(secured(&papers, "").await);
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let ca = papers.option("ca", "ca.pem");
    let url = format!("consul://{}?{ca}&queries=100&timeout=10s", proxy.address());
    let registry = open(&url).await;
    served(&*registry).await;
    let mut watchers = Vec::new();
    for number in 0..60 {
        let mut watcher = watch(&*registry, name(&format!("s{number}"))).await;
        assert!(snapshot(&mut watcher).await.is_empty());
        watchers.push(watcher);
    }
    assert!(proxy.open() <= 2, "{} connections", proxy.open());
    Verdict::Kept
}
