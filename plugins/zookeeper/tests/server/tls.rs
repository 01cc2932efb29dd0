//! TLS, client certificates and users, each through a frozen server.

use waypost_core::{ErrorKind, Result};
use waypost_testkit::containers::{
    Launch, Papers, Server, ZOOKEEPER, endures, frozen_past_the_ttl, takes_new_certificates,
};
use waypost_testkit::{Kept, Missing, laws};

use crate::help::{instance, open, own_server, register, try_open};

laws! {
    tls_is_spoken_with_whom_it_trusts,
    with_an_authority_all_is_well_after_a_freeze,
    with_a_client_certificate_all_is_well_after_a_freeze,
    with_a_user_all_is_well_after_a_freeze,
    a_new_certificate_of_the_server_is_taken_at_the_next_connection,
}

const FOLDER: &str = "/var/lib/zookeeper";

const TLS: &str = "\
secureClientPort=2281
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location=/var/lib/zookeeper/server.pem
ssl.trustStore.location=/var/lib/zookeeper/ca.pem
";

/// A server that is reached by TLS and nothing else.
async fn secured(papers: &Papers, more: &str) -> Result<Server, Missing> {
    let mut recipe = ZOOKEEPER;
    recipe.port = 2281;
    Launch::new(&recipe)
        .with_file(format!("{FOLDER}/extra.cfg"), format!("{TLS}{more}\n"))
        .with_file(format!("{FOLDER}/server.pem"), both(papers, "server")?)
        .with_file(format!("{FOLDER}/ca.pem"), papers.text("ca.pem")?)
        .with_tls(papers)?
        .start()
        .await
}

/// A certificate and its key in one text, as the server takes them.
fn both(papers: &Papers, file: &str) -> Result<String> {
    let key = papers.text(&format!("{file}-key.pem"))?;
    Ok(key + &papers.text(&format!("{file}.pem"))?)
}

/// The server does not ask for a client's certificate.
const UNASKED: &str = "ssl.clientAuth=none";

async fn tls_is_spoken_with_whom_it_trusts() -> Kept {
    let (ours, theirs) = (
        Papers::new().expect("papers"),
        Papers::new().expect("papers"),
    );
    let server = secured(&ours, "").await?;
    let at_server = format!("zookeeper://ann:S3CR3T@{}", server.address());
    let good = open(&format!("{at_server}?{}", ours.showing("client"))).await;
    let one = instance("sealed-line", 1);
    let mut lease = register(&*good, &one).await;
    lease.renew().await.expect("renew");
    let seen = good.lookup(&one.service).await.expect("lookup");
    assert_eq!(seen, [one]);

    let foreign = theirs.trusting();
    let (ca, port) = (ours.trusting(), server.address());
    let port = port.rsplit(':').next().expect("a port");
    for (url, needle) in [
        (format!("{at_server}?{foreign}"), "not trusted"),
        // The server demands a certificate.
        (format!("{at_server}?{ca}"), "demands"),
        (format!("zookeeper://localhost:{port}?{ca}"), "other names"),
        (at_server.clone(), "write https://"),
    ] {
        let error = open(&url).await.services().await.expect_err(&url);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
    let cert = format!("cert={}", ours.path("client.pem").display());
    let partial = try_open(&format!("{at_server}?{ca}&{cert}")).await;
    assert_eq!(partial.expect_err("no key").kind(), ErrorKind::Config);
    Ok(())
}

async fn with_an_authority_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, UNASKED).await?;
    let ca = papers.trusting();
    let registry = open(&format!("zookeeper://{}?{ca}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "sealed", fault).await.expect("heals");
    Ok(())
}

async fn with_a_client_certificate_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, "").await?;
    let shown = papers.showing("client");
    let registry = open(&format!("zookeeper://{}?{shown}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "known", fault).await.expect("heals");
    Ok(())
}

async fn with_a_user_all_is_well_after_a_freeze() -> Kept {
    let server = own_server(&[]).await?;
    let url = |user: &str| format!("zookeeper://{user}@{}/guarded", server.address());
    let registry = open(&url("ann:S3CR3T")).await;
    let wrong = open(&url("ann:WR0NG")).await;
    let fault = async {
        let key = instance("owned", 1).key();
        let error = wrong.deregister(&key).await.expect_err("another user");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        let text = error.chain();
        let named = text.contains(&server.address()) && text.contains("user \"ann\"");
        assert!(named && !text.contains("WR0NG"), "{text}");
        frozen_past_the_ttl(&server, &*registry).await
    };
    endures(&registry, "owned", fault).await.expect("heals");
    Ok(())
}

async fn a_new_certificate_of_the_server_is_taken_at_the_next_connection() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, UNASKED).await?;
    let url = format!("zookeeper://{}?{}", server.address(), papers.trusting());
    // A session that was opened before may outlive the restart.
    let (registry, fresh) = (open(&url).await, open(&url).await);
    let files = |file: &str| {
        let text = both(&papers, file)?;
        Ok(vec![(format!("{FOLDER}/server.pem"), text)])
    };
    takes_new_certificates((&registry, &*fresh), &server, &papers, files).await?;
    Ok(())
}
