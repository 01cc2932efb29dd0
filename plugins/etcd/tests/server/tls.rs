//! TLS, client certificates, and users under tokens that go stale, each through a frozen server.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, PermissionType};
use tokio::time::sleep;
use waypost_core::{ErrorKind, Result};
use waypost_testkit::containers::{
    ETCD, Launch, Papers, Server, endures, frozen_past_the_ttl, takes_new_certificates,
};
use waypost_testkit::{Kept, Missing, laws};

use crate::support::{guard, name, open};

laws! {
    with_an_authority_all_is_well_after_a_freeze,
    with_a_client_certificate_all_is_well_after_a_freeze,
    with_a_user_all_is_well_after_a_freeze,
    users_come_and_go_and_passwords_change,
    a_new_certificate_of_the_server_is_taken_at_the_next_connection,
}

const FOLDER: &str = "/var/lib/etcd";

/// A server that speaks TLS and nothing else.
async fn secured(papers: &Papers, more: &[&str]) -> Result<Server, Missing> {
    let text = |file: &str| papers.text(file);
    let launch = Launch::new(&ETCD)
        .with_arguments([
            "--listen-client-urls=https://0.0.0.0:2379",
            "--advertise-client-urls=https://127.0.0.1:2379",
            "--cert-file=/var/lib/etcd/server.pem",
            "--key-file=/var/lib/etcd/server-key.pem",
        ])
        .with_arguments(more.iter().copied())
        .with_file(format!("{FOLDER}/ca.pem"), text("ca.pem")?)
        .with_file(format!("{FOLDER}/server.pem"), text("server.pem")?)
        .with_file(format!("{FOLDER}/server-key.pem"), text("server-key.pem")?);
    launch.with_tls(papers)?.start().await
}

/// Naming an authority is demanding a certificate of it.
const MUTUAL: &[&str] = &[
    "--trusted-ca-file=/var/lib/etcd/ca.pem",
    "--client-cert-auth",
];

async fn with_an_authority_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, &[]).await?;
    let registry = open(&format!(
        "etcd://{}?{}",
        server.address(),
        papers.trusting()
    ))
    .await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "sealed", fault).await.expect("heals");
    Ok(())
}

async fn with_a_client_certificate_all_is_well_after_a_freeze() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, MUTUAL).await?;
    let registry = open(&format!(
        "etcd://{}?{}",
        server.address(),
        papers.showing("client")
    ))
    .await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "known", fault).await.expect("heals");
    Ok(())
}

/// A server whose tokens live five seconds, hold no state there, and are void once any user or
/// role changes. The user `ann` (`S3CR3T`) may do everything.
async fn signing() -> Result<Server, Missing> {
    let papers = Papers::new()?;
    papers.issue("token", &["token"])?;
    let sign = "--auth-token=jwt,pub-key=/var/lib/etcd/public.pem,priv-key=/var/lib/etcd/key.pem,\
                sign-method=ES256,ttl=5s";
    let launch = Launch::new(&ETCD)
        .with_arguments([
            "--listen-client-urls=http://0.0.0.0:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            sign,
        ])
        .with_file(format!("{FOLDER}/key.pem"), papers.text("token-key.pem")?)
        .with_file(
            format!("{FOLDER}/public.pem"),
            papers.text("token-public.pem")?,
        );
    let server = launch.start().await?;
    guard(&server, PermissionType::Readwrite, "/").await;
    Ok(server)
}

async fn root(server: &Server) -> Client {
    let options = ConnectOptions::new().with_user("root", "root");
    let client = Client::connect([server.address()], Some(options)).await;
    client.expect("a client")
}

async fn change(server: &Server, password: &str) {
    let mut root = root(server).await;
    let changed = root.user_change_password("ann", password).await;
    changed.expect("changed");
}

async fn with_a_user_all_is_well_after_a_freeze() -> Kept {
    let server = signing().await?;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let fault = frozen_past_the_ttl(&server, &*registry);
    endures(&registry, "signed", fault).await.expect("heals");
    Ok(())
}

async fn users_come_and_go_and_passwords_change() -> Kept {
    let server = signing().await?;
    let registry = open(&format!("etcd://ann:S3CR3T@{}", server.address())).await;
    let service = name("orders");
    let fault = async {
        for number in 0..10 {
            // Each makes every token void.
            let added = root(&server)
                .await
                .user_add(format!("user-{number}"), "x", None)
                .await;
            added.expect("added");
            registry.lookup(&service).await.expect("nobody notices");
        }
        change(&server, "0THER").await;
        let error = registry.lookup(&service).await.expect_err("denied");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        let text = error.chain();
        let named = text.contains(&server.address()) && text.contains("user \"ann\"");
        assert!(named && !text.contains("S3CR3T"), "{text}");
        sleep(Duration::from_secs(5)).await;
        change(&server, "S3CR3T").await;
        Ok(())
    };
    endures(&registry, "orders", fault).await.expect("heals");
    Ok(())
}

async fn a_new_certificate_of_the_server_is_taken_at_the_next_connection() -> Kept {
    let papers = Papers::new().expect("papers");
    let server = secured(&papers, &[]).await?;
    let registry = open(&format!(
        "etcd://{}?{}",
        server.address(),
        papers.trusting()
    ))
    .await;
    let files = |file: &str| papers.of_server(FOLDER, file);
    takes_new_certificates((&registry, &*registry), &server, &papers, files).await?;
    Ok(())
}
