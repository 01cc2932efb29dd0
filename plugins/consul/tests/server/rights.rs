//! Tokens and what they may do.

use serde_json::json;
use waypost_core::{Error, ErrorKind, Event, RegisterOptions, Registry, Result, WatchScope};
use waypost_testkit::containers::{CONSUL_GUARDED, Server};
use waypost_testkit::{Kept, Missing, laws};

use crate::support::{Raw, instance, name, news, open, own_agent, register, snapshot, watch};

laws! {
    without_rights_nothing_is_empty,
    the_least_rights_are_enough,
    rights_that_are_taken_away_empty_nothing,
    a_token_that_is_revoked_is_denied,
}

const ACLS: &str =
    r#"acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;

async fn guarded() -> Result<(Server, Raw), Missing> {
    let agent = own_agent(&CONSUL_GUARDED, ACLS).await?;
    let raw = Raw::new(&agent.address(), "root");
    Ok((agent, raw))
}

async fn with_token(agent: &Server, token: &str) -> std::sync::Arc<dyn Registry> {
    open(&format!("consul://:{token}@{}", agent.address())).await
}

fn denied<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    error
}

async fn without_rights_nothing_is_empty() -> Kept {
    let (agent, _) = guarded().await?;
    let options = RegisterOptions::new(std::time::Duration::from_secs(30));
    for url in [
        format!("consul://{}", agent.address()),
        format!("consul://:no-such-token@{}", agent.address()),
    ] {
        let registry = open(&url).await;
        denied(registry.lookup(&name("orders")).await);
        denied(registry.services().await);
        denied(registry.register(&instance("orders", 1), options).await);
        for scope in [WatchScope::All, name("orders").into()] {
            denied(news(&mut watch(&*registry, scope).await).await);
        }
    }
    Ok(())
}

async fn the_least_rights_are_enough() -> Kept {
    let (agent, raw) = guarded().await?;
    let rules = r#"service "orders" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let registry = with_token(&agent, &raw.token("orders", rules).await).await;
    let mut watcher = watch(&*registry, name("orders")).await;
    assert!(snapshot(&mut watcher).await.is_empty());
    let one = instance("orders", 1);
    let mut lease = register(&*registry, &one).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(_))));
    lease.renew().await.expect("renewed");
    assert_eq!(
        registry.services().await.expect("services"),
        [name("orders")]
    );
    denied(registry.lookup(&name("carts")).await);
    lease.revoke().await.expect("revoked");
    // All services cannot be known to be none by who may see one; by prefix they can.
    denied(registry.services().await);
    let rules = r#"service_prefix "shop-" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let token = raw.token("shop", rules).await;
    let shop = open(&format!("consul://:{token}@{}?only=shop-", agent.address())).await;
    assert_eq!(shop.services().await.expect("none"), []);
    let mut watcher = watch(&*shop, WatchScope::All).await;
    assert!(snapshot(&mut watcher).await.is_empty());
    // Writing without seeing: the record is there for others.
    let rules = r#"service "blind" { policy = "write" }"#;
    let blind = with_token(&agent, &raw.token("blind", rules).await).await;
    let mut lease = register(&*blind, &instance("blind", 1)).await;
    lease.renew().await.expect("renewed");
    let root = with_token(&agent, "root").await;
    assert_eq!(root.lookup(&name("blind")).await.expect("found").len(), 1);
    lease.revoke().await.expect("revoked");
    Ok(())
}

async fn rights_that_are_taken_away_empty_nothing() -> Kept {
    let (agent, raw) = guarded().await?;
    let root = with_token(&agent, "root").await;
    let _lease = register(&*root, &instance("orders", 1)).await;
    let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    let token = raw.token("reader", rules).await;
    let url = format!("consul://:{token}@{}?wait=2s", agent.address());
    let registry = open(&url).await;
    let mut watchers = Vec::new();
    for scope in [WatchScope::All, name("orders").into()] {
        let mut watcher = watch(&*registry, scope).await;
        assert_eq!(snapshot(&mut watcher).await.len(), 1);
        watchers.push(watcher);
    }
    let policies = raw.get("acl/policies").await;
    let policies = policies.as_array().expect("policies");
    let id = policies
        .iter()
        .find(|policy| policy["Name"] == "reader")
        .and_then(|policy| policy["ID"].as_str())
        .expect("the policy");
    let body = json!({"ID": id, "Name": "reader", "Rules": ""});
    raw.put(&format!("acl/policy/{id}"), body).await;
    for watcher in &mut watchers {
        denied(news(watcher).await);
    }
    denied(registry.lookup(&name("orders")).await);
    Ok(())
}

async fn a_token_that_is_revoked_is_denied() -> Kept {
    let (agent, raw) = guarded().await?;
    let rules = r#"service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }"#;
    let token = raw.token("writer", rules).await;
    let registry = with_token(&agent, &token).await;
    let mut lease = register(&*registry, &instance("orders", 1)).await;
    let all = raw.get("acl/tokens").await;
    let id = all
        .as_array()
        .expect("tokens")
        .iter()
        .find(|one| one["Policies"][0]["Name"] == "writer")
        .and_then(|one| one["AccessorID"].as_str())
        .expect("the token")
        .to_owned();
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/acl/token/{id}", agent.address());
    let gone = client
        .delete(url)
        .header("x-consul-token", "root")
        .send()
        .await;
    assert!(gone.expect("an answer").status().is_success());
    let error = denied(lease.renew().await);
    assert!(!format!("{error:?}").contains(&token));
    denied(registry.lookup(&name("orders")).await);
    Ok(())
}
