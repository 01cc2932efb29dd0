//! Consul's tags, one a line.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use waypost_core::{Address, Instance, Node, NodeId, ServiceName};

use crate::memory::held;
use crate::tags::{self, MAX_INFLATED, Said};

/// Bytes that a byte inside of a tag may become: `{},` in a list of values is the worst.
const GROWTH: usize = 160;

/// The tags of one record.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let lines: Vec<&str> = text.lines().collect();
        let said = read(&lines);
        assert!(said.broken.len() <= lines.len());
        written_and_read(&said);
    }
    packed(data);
}

/// Whatever the tags inflate to, no more than the limit of it is ever held.
fn read(lines: &[&str]) -> Said {
    let (said, held) = held(|| tags::decode(lines.iter().copied()));
    let bomb = |(_, rule): &(String, String)| rule.starts_with("inflates beyond");
    // What inflates beyond the limit is never parsed: its bytes are all that is held.
    let most = match said.broken.len() == lines.len() && said.broken.iter().all(bomb) {
        true => 4 * MAX_INFLATED,
        false => GROWTH * MAX_INFLATED,
    };
    assert!(held <= most + 512 * lines.len(), "held {held} bytes");
    let pairs = said.node.iter().flatten().chain(&said.service);
    let texts: usize = pairs.map(|(key, value)| key.len() + value.len()).sum();
    let version = said.version.as_deref().map_or(0, str::len);
    assert!(texts + version <= MAX_INFLATED);
    said
}

fn written_and_read(said: &Said) {
    let node = Node::new(
        NodeId::new("orders-1").expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    let mut instance = Instance::new(ServiceName::new("orders").expect("name"), node)
        .with_version(said.version.clone().unwrap_or_default());
    instance.node.metadata = said.node.clone().unwrap_or_default();
    instance.metadata = said.service.clone();
    instance.endpoints.clone_from(&said.endpoints);
    // More than a reader takes is refused.
    let Ok(written) = tags::encode(&instance) else {
        return;
    };
    assert!(written.iter().all(|tag| tag.is_ascii()));
    let again = tags::decode(written.iter().map(String::as_str));
    assert_eq!(again.broken, []);
    assert_eq!(again.version.as_ref(), Some(&instance.version));
    assert_eq!(again.node.unwrap_or_default(), instance.node.metadata);
    assert_eq!(
        (again.service, again.endpoints),
        (instance.metadata, instance.endpoints)
    );
}

/// Bytes as the content of a tag: read as they are if they are text, and never beyond the limit.
fn packed(data: &[u8]) {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(data).expect("a vector");
    let digits: String = zlib
        .finish()
        .expect("a vector")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for kind in ["t-", "e-", "m-", "v-"] {
        let tag = format!("{kind}{digits}");
        let said = read(&[&tag]);
        if kind == "v-" {
            assert_eq!(said.version.as_deref(), std::str::from_utf8(data).ok());
        }
    }
}
