//! TLS, client certificates and tokens, with certificates of our own.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{ErrorKind, Registry, Result, WatchScope};
use waypost_testkit::containers::{
    CONSUL, CONSUL_GUARDED, Launch, Papers, Server, endures, frozen_past_the_ttl,
    takes_new_certificates,
};
use waypost_testkit::proxy::Proxy;
use waypost_testkit::{Kept, Missing, laws};

use crate::support::{Raw, SOON, instance, name, open, own_agent, register, snapshot, watch};

laws! {
    an_agent_is_believed_by_its_authority_alone,
    a_client_shows_its_certificate,
    over_tls_everything_shares_one_connection,
    with_an_authority_all_is_well_after_a_freeze,
    with_a_client_certificate_all_is_well_after_a_freeze,
    with_a_token_all_is_well_after_a_freeze,
    a_new_certificate_of_the_agent_is_taken_at_the_next_connection,
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

async fn an_agent_is_believed_by_its_authority_alone() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "").await?;
    let address = server.address();
    let ca = papers.trusting();
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
            format!("consul://{address}?{}", other.trusting()),
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
    Ok(())
}

async fn a_client_shows_its_certificate() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "verify_incoming_https = true").await?;
    let ca = papers.trusting();
    let shown = papers.showing("client");
    let known = open(&format!("consul://{}?{shown}", server.address())).await;
    served(&*known).await;
    let unknown = open(&format!("consul://{}?{ca}", server.address())).await;
    let error = unknown
        .lookup(&name("tls"))
        .await
        .expect_err("no certificate");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Ok(())
}

async fn over_tls_everything_shares_one_connection() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "").await?;
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let ca = papers.trusting();
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
    Ok(())
}

async fn with_an_authority_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "").await?;
    let ca = papers.trusting();
    let registry = open(&format!("consul://{}?{ca}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "sealed", fault).await.expect("heals");
    Ok(())
}

async fn with_a_client_certificate_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "verify_incoming_https = true").await?;
    let shown = papers.showing("client");
    let registry = open(&format!("consul://{}?{shown}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "known", fault).await.expect("heals");
    Ok(())
}

async fn with_a_token_all_is_well_after_a_freeze() -> Kept {
    let acls = r#"acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;
    let server = own_agent(&CONSUL_GUARDED, acls).await?;
    let rules = r#"service "guarded" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let token = Raw::new(&server.address(), "root")
        .token("guarded", rules)
        .await;
    let registry = open(&format!("consul://:{token}@{}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "guarded", fault).await.expect("heals");
    Ok(())
}

async fn a_new_certificate_of_the_agent_is_taken_at_the_next_connection() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "").await?;
    let ca = papers.trusting();
    let registry = open(&format!("consul://{}?{ca}", server.address())).await;
    let files = |file: &str| papers.of_server(FOLDER, file);
    takes_new_certificates((&registry, &*registry), &server, &papers, files).await?;
    Ok(())
}
