//! Consul.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use waypost_core::InstanceKey;
use waypost_testkit::containers::{CONSUL, CONSUL_GUARDED, Server};

use crate::{Result, ensure};

use super::Backend;

/// One server that keeps its data, is its own agent, and has a leader soon.
const ARGUMENTS: &[&str] = &[
    "-server",
    "-bootstrap-expect=1",
    "-bind=127.0.0.1",
    "-client=0.0.0.0",
    "-log-level=warn",
    // Through a published port every client has the same address.
    "-hcl=limits { http_max_conns_per_client = 4000 } performance { raft_multiplier = 1 }",
];
const ACLS: &str = r#"-hcl=acl { enabled = true default_policy = "deny" tokens { master = "root" agent = "root" } }"#;
const ROOT: &str = "root";
/// The token of the agents and readers, its accessor and its policy.
const TOKEN: &str = "a3f1c7de-5b0a-4a7e-9d7b-2f1c6a8e0b11";
const ACCESSOR: &str = "a3f1c7de-5b0a-4a7e-9d7b-2f1c6a8e0b12";
const POLICY: &str = "svc";
const RULES: &str = r#"service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }"#;
/// Most operations of one transaction.
const MOST: usize = 64;
/// Longest time until the servers know what the agent was told.
const TOLD: Duration = Duration::from_secs(5);

/// One Consul server in a container.
#[derive(Debug)]
pub struct Consul {
    server: Server,
    address: SocketAddr,
    guarded: bool,
    admin: Client,
}

#[async_trait]
impl Backend for Consul {
    const NAME: &str = "consul";
    const SLACK: Duration = Duration::from_secs(1);
    const WRITES_A_SECOND: usize = 200;
    const TELLS_EVERY_CHANGE: bool = false;
    const RETURNS_EXPIRED: bool = true;
    const PROTOCOLS: &[&str] = &["http/1.1"];

    async fn open(arguments: &[&str], guarded: bool) -> Result<Self> {
        let acls: &[&str] = if guarded { &[ACLS] } else { &[] };
        let recipe = if guarded { CONSUL_GUARDED } else { CONSUL };
        let server = Server::start_with(&recipe, &[ARGUMENTS, acls, arguments].concat()).await?;
        let address = server.address().parse()?;
        let consul = Self {
            server,
            address,
            guarded,
            admin: Client::builder().no_proxy().build()?,
        };
        if guarded {
            consul.permit(true).await?;
            consul.issue(true).await?;
        }
        Ok(consul)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// There is no key prefix; each house has a server of its own.
    fn url(&self, via: SocketAddr, _namespace: &str) -> String {
        if self.guarded {
            format!("consul://:{TOKEN}@{via}")
        } else {
            format!("consul://{via}")
        }
    }

    fn observer_url(&self, _namespace: &str) -> String {
        let address = self.address;
        if self.guarded {
            format!("consul://:{ROOT}@{address}")
        } else {
            format!("consul://{address}")
        }
    }

    async fn kill(&self) -> Result<()> {
        Ok(self.server.kill().await?)
    }

    async fn start(&self) -> Result<()> {
        Ok(self.server.revive().await?)
    }

    async fn pause(&self) -> Result<()> {
        Ok(self.server.pause().await?)
    }

    async fn unpause(&self) -> Result<()> {
        Ok(self.server.unpause().await?)
    }

    async fn wipe(&mut self) -> Result<()> {
        Ok(self.server.wipe().await?)
    }

    async fn remove(&self, _namespace: &str, key: &InstanceKey) -> Result<()> {
        let before = self.entry(key).await?;
        let before = before.ok_or_else(|| format!("{key} was not there to be deleted"))?;
        let path = format!("agent/service/deregister/{}", key.node);
        self.send(Method::PUT, &path, None).await?;
        // Its owner may have written it again already.
        let created = |entry: &Value| entry["Service"]["CreateIndex"].clone();
        self.told(key, |now| {
            now.is_none_or(|now| created(now) != created(&before))
        })
        .await
    }

    async fn end_lease(&self, _namespace: &str, key: &InstanceKey) -> Result<()> {
        let path = format!("agent/check/fail/service:{}", key.node);
        self.send(Method::PUT, &path, None).await?;
        Ok(())
    }

    /// The index of the servers' log, in which each registration is an entry, with its check.
    async fn writes(&self) -> Result<u64> {
        let told = self.send(Method::GET, "agent/self", None).await?;
        let index = told["Stats"]["raft"]["applied_index"].as_str();
        Ok(index.ok_or("the server does not tell its index")?.parse()?)
    }
}

impl Consul {
    /// Asks the agent for something, as one who may do everything.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let url = format!("http://{}/v1/{path}", self.address);
        let mut request = self
            .admin
            .request(method, url)
            .header("x-consul-token", ROOT);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure(status.is_success(), || format!("{path}: {status} {text}"))?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What the servers have under a key, with its checks.
    async fn entry(&self, key: &InstanceKey) -> Result<Option<Value>> {
        let path = format!("health/service/{}", key.service);
        let all = self.send(Method::GET, &path, None).await?;
        let mut all = all.as_array().cloned().unwrap_or_default().into_iter();
        Ok(all.find(|entry| entry["Service"]["ID"] == key.node.as_str()))
    }

    /// Waits until what the servers have under a key satisfies `holds`.
    async fn told(&self, key: &InstanceKey, holds: impl Fn(Option<&Value>) -> bool) -> Result<()> {
        let since = Instant::now();
        while !holds(self.entry(key).await?.as_ref()) {
            ensure(since.elapsed() < TOLD, || {
                format!("the servers were not told of {key} within {TOLD:?}")
            })?;
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Removes the TTL check of a record, by hand; the record itself stays, and looks alive.
    pub(crate) async fn uncheck(&self, key: &InstanceKey) -> Result<()> {
        let path = format!("agent/check/deregister/service:{}", key.node);
        self.send(Method::PUT, &path, None).await?;
        self.told(key, |now| now.is_some_and(|now| !is_checked(now, key)))
            .await
    }

    /// Whether the servers have the TTL check of a record.
    pub(crate) async fn is_checked(&self, key: &InstanceKey) -> Result<bool> {
        let entry = self.entry(key).await?;
        Ok(entry.is_some_and(|entry| is_checked(&entry, key)))
    }

    /// Writes records of a machine that has no agent, as many as fit into a transaction at a time.
    pub(crate) async fn plant(&self, machine: &str, records: &[Value]) -> Result<()> {
        let node =
            json!({"Node": {"Verb": "set", "Node": {"Node": machine, "Address": "10.254.0.1"}}});
        let set = |record: &Value| json!({"Service": {"Verb": "set", "Node": machine, "Service": record}});
        for records in records.chunks(MOST - 1) {
            let operations: Vec<Value> = std::iter::once(node.clone())
                .chain(records.iter().map(set))
                .collect();
            self.send(Method::PUT, "txn", Some(Value::Array(operations)))
                .await?;
        }
        Ok(())
    }

    /// Writes a record of such a machine.
    pub(crate) async fn put(&self, machine: &str, record: &Value) -> Result<()> {
        let body = json!({
            "Node": machine, "Address": "10.254.0.1", "Service": record,
        });
        self.send(Method::PUT, "catalog/register", Some(body))
            .await?;
        Ok(())
    }

    /// Removes such a machine: all of its records go in one step.
    pub(crate) async fn uproot(&self, machine: &str) -> Result<()> {
        let body = json!({ "Node": machine });
        self.send(Method::PUT, "catalog/deregister", Some(body))
            .await?;
        Ok(())
    }

    /// Takes every right from the token's policy, or gives them back.
    pub(crate) async fn permit(&self, permitted: bool) -> Result<()> {
        let rules = if permitted { RULES } else { "" };
        let mut body = json!({"Name": POLICY, "Rules": rules});
        let path = match self.policy().await? {
            Some(id) => {
                body["ID"] = json!(id);
                format!("acl/policy/{id}")
            }
            None => "acl/policy".to_owned(),
        };
        self.send(Method::PUT, &path, Some(body)).await?;
        Ok(())
    }

    async fn policy(&self) -> Result<Option<String>> {
        let all = self.send(Method::GET, "acl/policies", None).await?;
        let mut all = all.as_array().cloned().unwrap_or_default().into_iter();
        let found = all.find(|policy| policy["Name"] == POLICY);
        Ok(found.and_then(|policy| policy["ID"].as_str().map(str::to_owned)))
    }

    /// Issues the token, or revokes it.
    pub(crate) async fn issue(&self, issued: bool) -> Result<()> {
        if issued {
            let body = json!({
                "AccessorID": ACCESSOR, "SecretID": TOKEN, "Policies": [{"Name": POLICY}],
            });
            self.send(Method::PUT, "acl/token", Some(body)).await?;
        } else {
            let path = format!("acl/token/{ACCESSOR}");
            self.send(Method::DELETE, &path, None).await?;
        }
        Ok(())
    }
}

fn is_checked(entry: &Value, key: &InstanceKey) -> bool {
    let id = format!("service:{}", key.node);
    let checks = entry["Checks"].as_array();
    checks.is_some_and(|checks| checks.iter().any(|check| check["CheckID"] == id.as_str()))
}
