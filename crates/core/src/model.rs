//! What is registered: services, nodes, endpoints. The shape is go-micro's.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::shown;
use crate::nullable;
use crate::{Address, Error, NodeId, Result, ServiceName};

/// Free-form pairs that travel with a service, a node or an endpoint.
pub type Metadata = BTreeMap<String, String>;

/// Most metadata pairs of one map.
const MAX_METADATA: usize = 64;
/// Longest metadata key, in bytes.
const MAX_METADATA_KEY: usize = 128;
/// Longest metadata value, in bytes.
const MAX_METADATA_VALUE: usize = 4096;
/// Most endpoints of one instance.
const MAX_ENDPOINTS: usize = 256;
/// Longest version, in bytes.
const MAX_VERSION: usize = 128;

/// The type of a request or a response, as go-micro describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Value {
    /// Name of the field or message.
    pub name: String,
    /// Name of its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Fields below it; `null` on the wire when there are none.
    #[serde(with = "nullable::list")]
    pub values: Vec<Value>,
}

/// Something a service can be asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name, such as `Greeter.Hello`.
    pub name: String,
    /// What it takes, where that is known.
    pub request: Option<Value>,
    /// What it gives, where that is known.
    pub response: Option<Value>,
    /// Free-form pairs.
    #[serde(with = "nullable::map")]
    pub metadata: Metadata,
}

impl Endpoint {
    /// An endpoint that tells nothing but its name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// One running instance: id, address, metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// Unique within the service.
    pub id: NodeId,
    /// Where it listens.
    pub address: Address,
    /// Free-form pairs: `protocol`, `zone`, `weight`, …
    #[serde(with = "nullable::map")]
    pub metadata: Metadata,
}

impl Node {
    /// A node without metadata.
    #[must_use]
    pub fn new(id: NodeId, address: Address) -> Self {
        Self {
            id,
            address,
            metadata: Metadata::new(),
        }
    }

    /// Adds a metadata pair.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// The unit that is written, read and watched: one node, with what its service says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Name of the service.
    pub service: ServiceName,
    /// Version of the service that this node runs.
    pub version: String,
    /// Service-level pairs.
    #[serde(with = "nullable::map")]
    pub metadata: Metadata,
    /// What the service can be asked to do.
    #[serde(with = "nullable::list")]
    pub endpoints: Vec<Endpoint>,
    /// The node.
    pub node: Node,
}

impl Instance {
    /// An instance of version `latest` without metadata or endpoints.
    #[must_use]
    pub fn new(service: ServiceName, node: Node) -> Self {
        Self {
            service,
            version: "latest".to_owned(),
            metadata: Metadata::new(),
            endpoints: Vec::new(),
            node,
        }
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a service-level metadata pair.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// What names this record in the registry.
    #[must_use]
    pub fn key(&self) -> InstanceKey {
        InstanceKey {
            service: self.service.clone(),
            node: self.node.id.clone(),
        }
    }

    /// Checks everything that a type cannot: the limits on metadata, endpoints and version, and
    /// that the names are ones a new record may have.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the thing and the rule it breaks.
    pub fn validate(&self) -> Result<()> {
        ServiceName::new(self.service.as_str())?;
        NodeId::new(self.node.id.as_str())?;
        self.check_limits()
    }

    /// Checks the limits on metadata, endpoints and version alone: for records that another writer
    /// put into a registry, whose names may be older than the rules.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the thing and the rule it breaks.
    pub fn check_limits(&self) -> Result<()> {
        if self.version.len() > MAX_VERSION || self.version.chars().any(char::is_control) {
            return Err(Error::config(format!(
                "version {} of service {} is over {MAX_VERSION} bytes or has control characters",
                shown(&self.version),
                self.service
            )));
        }
        check_metadata(&self.metadata, "service metadata")?;
        check_metadata(&self.node.metadata, "node metadata")?;
        if self.endpoints.len() > MAX_ENDPOINTS {
            return Err(Error::config(format!(
                "service {} has {} endpoints; at most {MAX_ENDPOINTS} are allowed",
                self.service,
                self.endpoints.len()
            )));
        }
        self.endpoints
            .iter()
            .try_for_each(|endpoint| check_metadata(&endpoint.metadata, "endpoint metadata"))
    }
}

fn check_metadata(metadata: &Metadata, what: &str) -> Result<()> {
    if metadata.len() > MAX_METADATA {
        return Err(Error::config(format!(
            "{what} has {} pairs; at most {MAX_METADATA} are allowed",
            metadata.len()
        )));
    }
    for (key, value) in metadata {
        let key_is_bad =
            key.is_empty() || key.len() > MAX_METADATA_KEY || key.chars().any(char::is_control);
        if key_is_bad {
            return Err(Error::config(format!(
                "{what} key {} is empty, over {MAX_METADATA_KEY} bytes or has control characters",
                shown(key)
            )));
        }
        if value.len() > MAX_METADATA_VALUE || value.chars().any(char::is_control) {
            return Err(Error::config(format!(
                "{what} value of {key:?} is over {MAX_METADATA_VALUE} bytes or has control characters"
            )));
        }
    }
    Ok(())
}

/// What names a record in a registry: the service and the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceKey {
    /// Name of the service.
    pub service: ServiceName,
    /// Id of the node.
    pub node: NodeId,
}

impl InstanceKey {
    /// The key of `node` of `service`.
    #[must_use]
    pub fn new(service: ServiceName, node: NodeId) -> Self {
        Self { service, node }
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.node)
    }
}

/// One version of a service with all of its nodes: what go-micro's `GetService` returns.
///
/// Serialized, it is go-micro's JSON: lower-case keys, `null` for empty maps and lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Name of the service.
    pub name: ServiceName,
    /// The version that all the nodes run.
    pub version: String,
    /// Service-level pairs, from the version's first node.
    #[serde(with = "nullable::map")]
    pub metadata: Metadata,
    /// Endpoints, from the version's first node.
    #[serde(with = "nullable::list")]
    pub endpoints: Vec<Endpoint>,
    /// The nodes, ordered by id.
    pub nodes: Vec<Node>,
}

impl Service {
    /// Groups instances by service and version, in the order of names, versions and node ids.
    #[must_use]
    pub fn group<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Vec<Self> {
        let mut sorted: Vec<&Instance> = instances.into_iter().collect();
        sorted.sort_by(|a, b| {
            (&a.service, &a.version, &a.node.id).cmp(&(&b.service, &b.version, &b.node.id))
        });
        let mut services: Vec<Self> = Vec::new();
        for instance in sorted {
            match services.last_mut() {
                Some(last) if last.name == instance.service && last.version == instance.version => {
                    last.nodes.push(instance.node.clone());
                }
                _ => services.push(Self::from(instance)),
            }
        }
        services
    }
}

impl From<&Instance> for Service {
    fn from(instance: &Instance) -> Self {
        Self {
            name: instance.service.clone(),
            version: instance.version.clone(),
            metadata: instance.metadata.clone(),
            endpoints: instance.endpoints.clone(),
            nodes: vec![instance.node.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(node: &str, version: &str) -> Instance {
        let node = Node::new(
            NodeId::new(node).expect("id"),
            Address::new("10.0.0.1:80").expect("address"),
        );
        Instance::new(ServiceName::new("orders").expect("name"), node).with_version(version)
    }

    #[test]
    fn grouping_gives_one_service_a_version_with_its_nodes_in_order() {
        let all = [instance("b", "1"), instance("c", "2"), instance("a", "1")];
        let groups = Service::group(&all);
        let seen: Vec<(&str, Vec<&str>)> = groups
            .iter()
            .map(|service| {
                let ids = service.nodes.iter().map(|node| node.id.as_str()).collect();
                (service.version.as_str(), ids)
            })
            .collect();
        assert_eq!(seen, [("1", vec!["a", "b"]), ("2", vec!["c"])]);
    }

    #[test]
    fn a_service_serializes_as_go_micro_does() {
        let text = serde_json::to_string(&Service::from(&instance("a", "1"))).expect("json");
        assert_eq!(
            text,
            r#"{"name":"orders","version":"1","metadata":null,"endpoints":null,"nodes":[{"id":"a","address":"10.0.0.1:80","metadata":null}]}"#
        );
    }

    #[test]
    fn limits_are_named_when_broken() {
        let mut crowded = instance("a", "1");
        for n in 0..65 {
            crowded.node.metadata.insert(format!("k{n}"), String::new());
        }
        let error = crowded.validate().expect_err("65 pairs").to_string();
        assert_eq!(error, "node metadata has 65 pairs; at most 64 are allowed");
        let breaking = instance("a", "1").with_metadata("k", "a\r\nHost: x");
        assert!(breaking.validate().is_err());
    }
}
