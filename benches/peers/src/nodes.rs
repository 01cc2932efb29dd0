//! The nodes that everybody picks from.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use waypost_core::{Address, Instance, Node, NodeId, ServiceName};

/// The address of node `index`.
pub(crate) fn address(index: usize) -> SocketAddr {
    let [_, a, b, c] = (index as u32).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), 8080))
}

/// The record of node `index`, with a weight and a zone as metadata.
pub(crate) fn instance(index: usize) -> Result<Arc<Instance>> {
    let id = NodeId::new(&format!("orders-{index}"))?;
    let mut node = Node::new(id, Address::new(&address(index).to_string())?);
    let weight = (1 + index % 3).to_string();
    node.metadata.insert("weight".to_owned(), weight);
    node.metadata.insert("zone".to_owned(), "east".to_owned());
    let service = ServiceName::new("orders")?;
    Ok(Arc::new(Instance::new(service, node).with_version("1.0")))
}

/// The records of so many nodes.
pub(crate) fn instances(count: usize) -> Result<Vec<Arc<Instance>>> {
    (0..count).map(instance).collect()
}

/// Keys of calls, one after the other.
pub(crate) fn key(number: usize) -> [u8; 8] {
    (number as u64).to_le_bytes()
}
