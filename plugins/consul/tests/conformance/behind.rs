//! What reaches an agent behind its clients' backs.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use waypost_core::{Address, Error, Instance, NodeId, Result};
use waypost_testkit::Planted;

/// Most operations of one of Consul's transactions.
const MOST: usize = 64;

pub(crate) struct Behind {
    client: Client,
    base: String,
}

impl Behind {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            client: Client::new(),
            base: format!("http://{address}/v1"),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let fault = |error: reqwest::Error| Error::unavailable(error.to_string());
        let mut request = self.client.request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(fault)?;
        let status = response.status();
        let text = response.text().await.map_err(fault)?;
        if !status.is_success() {
            return Err(Error::unavailable(format!("{path}: {status} {text}")));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A record here is a service of the agent: its name and id are the key, it has an address and
    /// a port as fields, and everything else in tags. So the address is taken out of `bytes` where
    /// there is one, and `bytes` themselves are put into tags of every kind.
    pub(crate) async fn plant(&self, service: &str, node: &str, bytes: &[u8]) -> Result<Planted> {
        let record: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let (own_name, own_node) = (&record["name"], &record["nodes"][0]);
        let differs =
            |text: &Value, key: &str| text.as_str().is_some_and(|text| !key.ends_with(text));
        let own_id = own_node["id"].as_str().unwrap_or_default();
        let odd_id = NodeId::foreign(own_id).is_err();
        if differs(own_name, service) || differs(&own_node["id"], node) && !odd_id {
            return Ok(Planted::Unsupported(
                "a Consul record has no name and no id but its key",
            ));
        }
        let odd = format!("{node}{own_id}");
        let node = if odd_id { &odd } else { node };
        let address = own_node["address"].as_str().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = String::from_utf8_lossy(bytes);
        let tags: Vec<_> = "tevm"
            .chars()
            .flat_map(|kind| [format!("{kind}-{digits}"), format!("{kind}={plain}")])
            .collect();
        let body = json!({
            "ID": node,
            "Name": service,
            "Address": host,
            "Port": port.parse::<u16>().unwrap_or(0),
            "Tags": tags,
        });
        self.send(
            Method::PUT,
            "agent/service/register?replace-existing-checks=true",
            Some(body),
        )
        .await?;
        self.shown(service, node).await?;
        Ok(Planted::Done)
    }

    /// Waits until the servers know of a record.
    async fn shown(&self, service: &str, node: &str) -> Result<()> {
        loop {
            let path = format!("catalog/service/{service}");
            let all = self.send(Method::GET, &path, None).await?;
            let all = all.as_array().cloned().unwrap_or_default();
            if all.iter().any(|one| one["ServiceID"] == node) {
                return Ok(());
            }
        }
    }

    /// One transaction on the records of a machine that has no agent.
    pub(crate) async fn fill(&self, machine: &str, instances: &[Instance]) -> Result<Planted> {
        let node = json!({"Node": machine, "Address": "10.254.0.1", "SkipNodeUpdate": false});
        self.send(Method::PUT, "catalog/register", Some(node))
            .await?;
        let path = format!("catalog/node/{machine}");
        let before = self.send(Method::GET, &path, None).await?;
        let before = before["Services"].as_object().cloned().unwrap_or_default();
        let kept = |id: &str| instances.iter().any(|one| one.node.id.as_str() == id);
        let mut operations: Vec<Value> = before
            .iter()
            .filter(|(id, _)| !kept(id))
            .map(|(_, service)| operation("delete", machine, service.clone()))
            .collect();
        operations.extend(
            instances
                .iter()
                .map(|one| operation("set", machine, definition(one))),
        );
        assert!(operations.len() <= MOST, "one transaction takes {MOST}");
        self.send(Method::PUT, "txn", Some(Value::Array(operations)))
            .await?;
        Ok(Planted::Done)
    }
}

fn operation(verb: &str, machine: &str, service: Value) -> Value {
    json!({"Service": {"Verb": verb, "Node": machine, "Service": service}})
}

/// An instance as go-micro's first releases wrote it, with what they had no place for.
fn definition(instance: &Instance) -> Value {
    let pair = |(key, value): (&String, &String)| format!("t={}", json!({key: value}));
    let mut tags: Vec<_> = instance.node.metadata.iter().map(pair).collect();
    tags.extend(
        instance
            .endpoints
            .iter()
            .map(|one| format!("e={}", json!(one))),
    );
    tags.push(format!("v={}", instance.version));
    tags.push(format!("m={}", json!(instance.metadata)));
    let address: &Address = &instance.node.address;
    json!({
        "ID": instance.node.id,
        "Service": instance.service,
        "Address": address.host(),
        "Port": address.port(),
        "Tags": tags,
    })
}
