//! go-micro's JSON of a record: written exactly, read tolerantly.
//!
//! Written: a service with exactly one node, lower-case keys, `null` for what is empty. Read: any
//! key case, `null` and missing fields, unknown fields, go-micro 1.0's `port` beside a bare host,
//! several nodes in one record. Refused, with a reason: what is too large, too deep, or breaks a
//! rule of the model. Nothing that stands in a registry makes the reader panic.

use std::iter::repeat_n;

use waypost_core::{
    Address, Endpoint, Error, Instance, Metadata, Node, NodeId, Result, Service, ServiceName, Value,
};

use crate::layout::segment;

use self::json::{Json, Object};

mod json;

/// Largest record, in bytes.
pub const MAX_RECORD: usize = 256 * 1024;
/// Deepest nesting of a record's JSON.
pub const MAX_DEPTH: usize = 32;

/// Most bytes that the nodes of one record may take together with their copies of what it says of
/// the service: a record is small, but one with thousands of nodes would grow with their square.
const MAX_COPIED: usize = 16 * MAX_RECORD;

/// Most characters of a record that a reason shows.
const MAX_SHOWN: usize = 128;

/// go-micro's JSON of `instance`: a service with exactly one node.
#[must_use]
pub fn encode(instance: &Instance) -> Vec<u8> {
    // Writing to a vector cannot fail, and all keys of the model's maps are texts.
    serde_json::to_vec(&Service::from(instance)).unwrap_or_default()
}

/// Checks `instance` and encodes it: what this returns, [`decode`] reads back.
///
/// # Errors
/// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for an instance that breaks a rule of
/// the model, or whose record is larger or deeper than a reader takes.
pub fn checked(instance: &Instance) -> Result<Vec<u8>> {
    instance.validate()?;
    let bytes = encode(instance);
    match fault(&bytes) {
        None => Ok(bytes),
        Some(reason) => Err(Error::config(format!(
            "the record of {} {reason}",
            instance.key()
        ))),
    }
}

/// The instances of a record, one a node.
///
/// # Errors
/// The rule that the record breaks, as one short sentence.
pub fn decode(bytes: &[u8]) -> Result<Vec<Instance>, String> {
    let json = parse(bytes, "the record")?;
    let service = json.object("the record")?;
    let name = ServiceName::foreign(service.text("name")?).map_err(|error| error.to_string())?;
    let version = service.text("version")?;
    let metadata = metadata(service)?;
    let endpoints = service.list("endpoints", endpoint)?;
    let nodes = service.list("nodes", node)?;
    check_copies(nodes.len(), &metadata, &endpoints)?;
    // Copies for all but the last, which is the only one nearly always.
    let copies = repeat_n((metadata, endpoints), nodes.len());
    nodes
        .into_iter()
        .zip(copies)
        .map(|(node, (metadata, endpoints))| {
            let mut instance = Instance::new(name.clone(), node).with_version(version);
            instance.metadata = metadata;
            instance.endpoints = endpoints;
            instance.check_limits().map_err(|error| error.to_string())?;
            Ok(instance)
        })
        .collect()
}

/// Every instance gets its own copy of what the record says of the service.
fn check_copies(nodes: usize, metadata: &Metadata, endpoints: &[Endpoint]) -> Result<(), String> {
    if nodes < 2 {
        return Ok(());
    }
    let copied = serde_json::to_vec(&(metadata, endpoints)).unwrap_or_default();
    if nodes.saturating_mul(copied.len()) > MAX_COPIED {
        return Err(format!(
            "the record has {nodes} nodes and {} bytes of metadata and endpoints for each; write \
             them as records of their own",
            copied.len()
        ));
    }
    Ok(())
}

/// The instance of the record that stands under a key. The key is the authority: service name and
/// node id, encoded, must be its segments, else anybody who may write one key could speak for all.
///
/// # Errors
/// The rule that the record breaks, as one short sentence.
pub fn decode_record(
    service_segment: &str,
    node_segment: &str,
    bytes: &[u8],
) -> Result<Instance, String> {
    let mut all = decode(bytes)?;
    if let Some(first) = all.first()
        && segment(first.service.as_str()) != service_segment
    {
        return Err(format!(
            "the record calls its service {:?}, the key {service_segment:?}",
            first.service
        ));
    }
    all.retain(|instance| segment(instance.node.id.as_str()) == node_segment);
    match (all.pop(), all.is_empty()) {
        (Some(instance), true) => Ok(instance),
        (None, _) => Err(format!(
            "the record has no node {node_segment:?}, as its key says"
        )),
        (Some(_), false) => Err(format!("the record has the node {node_segment:?} twice")),
    }
}

/// The endpoint that stands on its own, as go-micro's Consul tags carry them.
///
/// # Errors
/// The rule that it breaks, as one short sentence.
pub fn decode_endpoint(bytes: &[u8]) -> Result<Endpoint, String> {
    endpoint(&parse(bytes, "the endpoint")?)
}

/// The JSON of `what`, if it may be parsed.
fn parse<'a>(bytes: &'a [u8], what: &str) -> Result<Json<'a>, String> {
    if let Some(fault) = fault(bytes) {
        return Err(format!("{what} {fault}"));
    }
    serde_json::from_slice(bytes).map_err(|error| format!("{what} is no JSON: {error}"))
}

/// Why a record is refused before it is parsed.
fn fault(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        Some("is empty".to_owned())
    } else if bytes.len() > MAX_RECORD {
        let size = bytes.len();
        Some(format!(
            "has {size} bytes; at most {MAX_RECORD} are allowed"
        ))
    } else if bytes.starts_with(b"\xEF\xBB\xBF") {
        Some("begins with a byte order mark".to_owned())
    } else if depth(bytes) > MAX_DEPTH {
        Some(format!("is nested deeper than {MAX_DEPTH}"))
    } else {
        None
    }
}

/// The deepest nesting of brackets outside of texts.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn metadata(owner: &Object<'_>) -> Result<Metadata, String> {
    let Some(json) = owner.field("metadata") else {
        return Ok(Metadata::new());
    };
    json.object("the field `metadata`")?
        .pairs()
        .into_iter()
        .map(|(key, value)| match value {
            Json::Text(value) => Ok((key.to_owned(), value.as_ref().to_owned())),
            Json::Null => Ok((key.to_owned(), String::new())),
            _ => {
                let shown: String = key.chars().take(MAX_SHOWN).collect();
                Err(format!("the metadata value of {shown:?} is no text"))
            }
        })
        .collect()
}

fn node(json: &Json<'_>) -> Result<Node, String> {
    let node = json.object("a node")?;
    let id = NodeId::foreign(node.text("id")?).map_err(|error| error.to_string())?;
    let address = address(node.text("address")?, node.field("port"))?;
    Ok(Node {
        id,
        address,
        metadata: metadata(node)?,
    })
}

/// go-micro before 1.8 kept the port apart.
fn address(address: &str, port: Option<&Json<'_>>) -> Result<Address, String> {
    let port = match port {
        Some(Json::Whole(port)) if *port != 0 => Some(port),
        _ => None,
    };
    let parsed = match port {
        Some(port) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            Address::new(&format!("[{address}]:{port}"))
        }
        Some(port) if !address.contains(':') || address.ends_with(']') => {
            Address::new(&format!("{address}:{port}"))
        }
        _ => Address::new(address),
    };
    parsed.map_err(|error| error.to_string())
}

fn endpoint(json: &Json<'_>) -> Result<Endpoint, String> {
    let endpoint = json.object("an endpoint")?;
    let optional = |key| endpoint.field(key).map(value).transpose();
    Ok(Endpoint {
        name: endpoint.text("name")?.to_owned(),
        request: optional("request")?,
        response: optional("response")?,
        metadata: metadata(endpoint)?,
    })
}

/// Recursion is bounded by [`MAX_DEPTH`].
fn value(json: &Json<'_>) -> Result<Value, String> {
    let object = json.object("a value")?;
    Ok(Value {
        name: object.text("name")?.to_owned(),
        kind: object.text("type")?.to_owned(),
        values: object.list("values", value)?,
    })
}

#[cfg(test)]
mod tests;
