//! What is registered: services, nodes, endpoints. The shape is go-micro's.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::shown;
use crate::{Error, NodeId, Result, ServiceName};

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

/// Where a node listens: `host:port`, checked.
///
/// The host is a DNS name, an IPv4 address or a bracketed IPv6 address; the port is 1 to 65535.
/// Addresses that no caller could or should dial are refused: unspecified (`0.0.0.0`),
/// link-local (where clouds keep their metadata services) and multicast.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Arc<str>);

impl Address {
    /// Checks `address`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the address and the rule it breaks.
    pub fn new(address: &str) -> Result<Self> {
        match address_fault(address) {
            None => Ok(Self(address.into())),
            Some(rule) => Err(Error::config(format!(
                "node address {} {rule}",
                shown(address)
            ))),
        }
    }

    /// The address as `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(0)
    }
}

fn address_fault(address: &str) -> Option<String> {
    if address.len() > 300 {
        return Some(format!("is {} bytes long; at most 300", address.len()));
    }
    if address.contains("://") {
        return Some("is a URL; a bare host:port is needed".to_owned());
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("has no port; host:port is needed".to_owned());
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Some("has more than one `:`; put an IPv6 host in brackets".to_owned());
    }
    if host.is_empty() || bare == Some("") {
        return Some("has no host".to_owned());
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit())
        || !matches!(port.parse::<u32>(), Ok(1..=65535))
    {
        return Some(format!("has the port {port:?}; 1 to 65535 are allowed"));
    }
    if let Some(bare) = bare {
        return match bare.parse::<Ipv6Addr>() {
            Ok(ip) => ip_fault(IpAddr::V6(ip)),
            Err(_) => Some("has brackets around something that is no IPv6 address".to_owned()),
        };
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip_fault(ip);
    }
    if is_numeric(host) {
        return Some("has a host that is no IPv4 address".to_owned());
    }
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if let Some(odd) = host.chars().find(|c| odd(*c)) {
        return Some(format!("has {odd:?} in its host"));
    }
    if host.starts_with(['.', '-']) || host.contains("..") {
        return Some("has a host that is no DNS name".to_owned());
    }
    None
}

/// Whether `host` is made of numbers alone. Resolvers take such a host for an IPv4 address in one of
/// its old spellings (`0xa9fea9fe`, `0251.0376.0xa9fe`), and would dial what [`ip_fault`] forbids.
fn is_numeric(host: &str) -> bool {
    host.split('.').all(|label| {
        let hex = label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"));
        match hex {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => label.bytes().all(|byte| byte.is_ascii_digit()),
        }
    })
}

fn ip_fault(ip: IpAddr) -> Option<String> {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() {
        Some("is the unspecified address; callers need one they can dial".to_owned())
    } else if link_local {
        Some("is link-local; that range is never dialled".to_owned())
    } else if ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) {
        Some("is a multicast or broadcast address".to_owned())
    } else {
        None
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Address {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;
    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// The type of a request or a response, as go-micro describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Value {
    /// Name of the field or message.
    pub name: String,
    /// Name of its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Fields below it; `null` on the wire when there are none.
    #[serde(with = "nullable_list")]
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
    #[serde(with = "nullable_map")]
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
    #[serde(with = "nullable_map")]
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
    #[serde(with = "nullable_map")]
    pub metadata: Metadata,
    /// What the service can be asked to do.
    #[serde(with = "nullable_list")]
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
    #[serde(with = "nullable_map")]
    pub metadata: Metadata,
    /// Endpoints, from the version's first node.
    #[serde(with = "nullable_list")]
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

/// A map that is `null` on the wire when it is empty, as Go writes a nil map.
mod nullable_map {
    use super::{Deserialize, Deserializer, Metadata, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(map: &Metadata, s: S) -> Result<S::Ok, S::Error> {
        (!map.is_empty()).then_some(map).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Metadata, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or_default())
    }
}

/// A list that is `null` on the wire when it is empty, as Go writes a nil slice.
mod nullable_list {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, T: Serialize>(
        list: &[T],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        (!list.is_empty()).then_some(list).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        d: D,
    ) -> Result<Vec<T>, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_rule() {
        for good in [
            "127.0.0.1:80",
            "[::1]:8080",
            "localhost:1",
            "orders-1.svc_a.local:65535",
            "redis.1:6379",
            "0xcafe.example:80",
            "192.168.0.107:9090",
        ] {
            let address = Address::new(good).expect(good);
            assert_eq!(address.as_str(), good);
        }
        for bad in [
            "",
            "host",
            ":8080",
            "host:",
            "host:0",
            "host:99999",
            "host:+1",
            "http://x",
            "http://x:80",
            "0.0.0.0:80",
            "[::]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
            "224.0.0.1:80",
            "::1:80",
            "[x]:80",
            "user@evil:80",
            "a b:1",
            "unix:/run/x",
            "1.2.3:80",
            "256.1.1.1:80",
            "2852039166:80",
            "0xa9fea9fe:80",
            "0XA9FEA9FE:80",
            "0xa9.0xfe.43518:80",
            "0251.0376.0251.0376:80",
            "0xa9fea9fe.:80",
            "h\u{0}:80",
            "255.255.255.255:1",
        ] {
            let error = Address::new(bad).expect_err(bad).to_string();
            assert!(error.starts_with("node address "), "{error}");
        }
        for long in ["a\n://".repeat(60_000), "h".repeat(200_000)] {
            let error = Address::new(&long).expect_err("long").to_string();
            assert!(error.len() < 500 && !error.contains('\n'), "{error}");
        }
        assert_eq!(Address::new("[::1]:8080").expect("good").host(), "::1");
        assert_eq!(Address::new("[::1]:8080").expect("good").port(), 8080);
    }

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
