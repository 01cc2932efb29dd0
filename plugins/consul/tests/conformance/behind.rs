//! What reaches an agent behind its clients' backs.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use waypost_core::{Address, Error, Instance, NodeId, Result, ServiceName};
use waypost_testkit::Planted;

/// Most operations of one of Consul's transactions.
const MOST: usize = 64;

/// So many bytes are put into one tag only.
const MANY: usize = 16 << 10;

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

    /// A record here is a service of the agent: its name and id are the key, it has one node, whose
    /// address and port are fields, and everything else in tags. So the address is taken out of
    /// `bytes` where there is one, a name or an id that no rule allows becomes the key's, and `bytes`
    /// themselves are put into tags of every kind.
    pub(crate) async fn plant(&self, service: &str, node: &str, bytes: &[u8]) -> Result<Planted> {
        let record: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let own_node = match record["nodes"].as_array().map(Vec::as_slice) {
            Some([one]) => one,
            _ => &Value::Null,
        };
        let odd = |key: &str, own: &Value| match own.as_str() {
            Some(own) if NodeId::foreign(own).is_err() => format!("{key}{own}"),
            _ => key.to_owned(),
        };
        let service = odd(service, &record["name"]);
        let node = odd(node, &own_node["id"]);
        let address = own_node["address"].as_str().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        let body = json!({
            "ID": node,
            "Name": service,
            "Address": host,
            "Port": port.parse::<u16>().unwrap_or(0),
            "Tags": tags(bytes),
        });
        self.send(
            Method::PUT,
            "agent/service/register?replace-existing-checks=true",
            Some(body),
        )
        .await?;
        self.shown(&service, &node).await?;
        Ok(Planted::Done)
    }

    /// Waits until the servers know of a record.
    async fn shown(&self, service: &str, node: &str) -> Result<()> {
        // No path is longer than 64 KiB.
        while ServiceName::foreign(service).is_err() {
            let all = self.send(Method::GET, "catalog/services", None).await?;
            if all.get(service).is_some() {
                return Ok(());
            }
        }
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
            .map(|(_, service)| operation("delete", machine, service))
            .collect();
        for one in instances {
            operations.push(operation("set", machine, &definition(one)));
            // Else the shared query of all checks would hear of it by chance only.
            operations.push(check(machine, one));
        }
        assert!(operations.len() <= MOST, "one transaction takes {MOST}");
        self.send(Method::PUT, "txn", Some(Value::Array(operations)))
            .await?;
        Ok(Planted::Done)
    }
}

/// Tags with these bytes, of every kind and both ways; of many bytes one tag, since every list of
/// services that anybody reads at the agent carries them.
fn tags(bytes: &[u8]) -> Vec<String> {
    let plain = String::from_utf8_lossy(bytes);
    if bytes.len() > MANY {
        return vec![format!("e={plain}")];
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let both = |kind| [format!("{kind}-{digits}"), format!("{kind}={plain}")];
    "tevm".chars().flat_map(both).collect()
}

fn operation(verb: &str, machine: &str, service: &Value) -> Value {
    json!({"Service": {"Verb": verb, "Node": machine, "Service": service}})
}

fn check(machine: &str, instance: &Instance) -> Value {
    let id = &instance.node.id;
    let check = format!("service:{id}");
    let check = json!({"Node": machine, "CheckID": check, "ServiceID": id, "Status": "passing"});
    json!({"Check": {"Verb": "set", "Check": check}})
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
