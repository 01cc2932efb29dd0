//! TLS, client certificates and tokens, with certificates of our own.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{ErrorKind, Registry, Result, WatchScope};
use waypost_testkit::Missing;
use waypost_testkit::containers::{
    CONSUL, CONSUL_GUARDED, Launch, Papers, Server, endures, frozen_past_the_ttl,
};
use waypost_testkit::proxy::Proxy;

use crate::support::{
    Raw, SOON, Verdict, given, instance, laws, name, open, own_agent, register, snapshot, until,
    watch,
};

laws! {
    an_agent_is_believed_by_its_authority_alone,
    a_client_shows_its_certificate,
    over_tls_everything_shares_one_connection,
    with_an_authority_all_is_well_after_a_freeze,
    with_a_client_certificate_all_is_well_after_a_freeze,
    with_a_token_all_is_well_after_a_freeze,
    a_new_certificate_of_the_agent_is_taken_at_the_next_connection,
}

/// The option `key` with the path of a file.
fn option(papers: &Papers, key: &str, file: &str) -> String {
    format!("{key}={}", papers.path(file).display())
}

const FOLDER: &str = "/var/lib/consul";

/// An agent that speaks TLS on its port and nothing else.
async fn secured(papers: &Papers, more: &str) -> Result<Server, Missing> {
    let config = format!(
        r#"ports {{ http = -1 https = 8500 }} ca_file = "{FOLDER}/ca.pem" cert_file = "{FOLDER}/server.pem" key_file = "{FOLDER}/server-key.pem" {more}"#
    );
    let file = format!("-config-file={FOLDER}/tls.hcl");
    let mut launch = Launch::new(&CONSUL)
        .with_arguments(["-dev", "-log-level=warn", "-client=0.0.0.0", &file])
        .with_file(format!("{FOLDER}/tls.hcl"), config)
        .with_tls(papers)?;
    for file in ["ca.pem", "server.pem", "server-key.pem"] {
        launch = launch.with_file(format!("{FOLDER}/{file}"), papers.text(file)?);
    }
    launch.start().await
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
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "").await);
    let address = server.address();
    let ca = option(&papers, "ca", "ca.pem");
    let registry = open(&format!("consul://{address}?{ca}")).await;
    served(&*registry).await;
    let one = instance("tls", 1);
    let mut lease = register(&*registry, &one).await;
    lease.renew().await.expect("renewed");
    let mut watcher = watch(&*registry, WatchScope::All).await;
    assert_eq!(snapshot(&mut watcher).await.len(), 1);

    let other = Papers::new().expect("papers");
    let port = address.rsplit(':').next().expect("a port");
    for (url, needle) in [
        (
            format!("consul://{address}?{}", option(&other, "ca", "ca.pem")),
            "not trusted",
        ),
        (format!("consul://{address}?tls=true"), "not trusted"),
        (format!("consul://localhost:{port}?{ca}"), "other names"),
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
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "verify_incoming_https = true").await);
    let ca = option(&papers, "ca", "ca.pem");
    let (cert, key) = (
        option(&papers, "cert", "client.pem"),
        option(&papers, "key", "client-key.pem"),
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
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "").await);
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let ca = option(&papers, "ca", "ca.pem");
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

async fn with_an_authority_all_is_well_after_a_freeze() -> Verdict {
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "").await);
    let ca = option(&papers, "ca", "ca.pem");
    let registry = open(&format!("consul://{}?{ca}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "sealed", fault).await.expect("heals");
    Verdict::Kept
}

async fn with_a_client_certificate_all_is_well_after_a_freeze() -> Verdict {
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "verify_incoming_https = true").await);
    let ca = option(&papers, "ca", "ca.pem");
    let cert = option(&papers, "cert", "client.pem");
    let key = option(&papers, "key", "client-key.pem");
    let registry = open(&format!("consul://{}?{ca}&{cert}&{key}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "known", fault).await.expect("heals");
    Verdict::Kept
}

async fn with_a_token_all_is_well_after_a_freeze() -> Verdict {
    let acls = r#"acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;
    let server = given!(own_agent(&CONSUL_GUARDED, acls).await);
    let rules = r#"service "guarded" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let token = Raw::new(&server.address(), "root")
        .token("guarded", rules)
        .await;
    let registry = open(&format!("consul://:{token}@{}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "guarded", fault).await.expect("heals");
    Verdict::Kept
}

/// Lets the server show another certificate, and starts it again.
async fn install(server: &Server, papers: &Papers, file: &str) -> Result<()> {
    for (path, file) in [
        ("server.pem", format!("{file}.pem")),
        ("server-key.pem", format!("{file}-key.pem")),
    ] {
        let text = papers.text(&file)?;
        server.put(&format!("{FOLDER}/{path}"), &text).await?;
    }
    server.kill().await?;
    server.revive().await
}

async fn a_new_certificate_of_the_agent_is_taken_at_the_next_connection() -> Verdict {
    let papers = Papers::new().expect("papers");
    let server = given!(secured(&papers, "").await);
    let ca = option(&papers, "ca", "ca.pem");
    let registry = open(&format!("consul://{}?{ca}", server.address())).await;
    let shown = server.certificate().await.expect("a certificate");
    papers.issue("server", &["127.0.0.1"]).expect("issued");
    endures(&registry, "rotated", install(&server, &papers, "server"))
        .await
        .expect("heals");
    assert_ne!(shown, server.certificate().await.expect("another"));

    install(&server, &papers, "expired")
        .await
        .expect("installed");
    let service = name("rotated");
    let error = registry.lookup(&service).await.expect_err("expired");
    let text = error.chain();
    let told = format!("{}: the server's certificate has expired", server.address());
    assert!(text.ends_with(&told), "{text}");
    install(&server, &papers, "server")
        .await
        .expect("installed");
    until("it is believed again", || async {
        registry.lookup(&service).await.is_ok()
    })
    .await;
    Verdict::Kept
}
