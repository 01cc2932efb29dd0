//! What a client can tell of itself.

use std::collections::HashMap;

use serde::Serialize;
use waypost_core::Freshness;
use waypost_selector::Explanation;

use crate::client::Client;
use crate::peer::Peer;

/// What a client knows of one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServiceStats {
    /// What is picked from, and why not from others.
    #[serde(flatten)]
    pub picks: Explanation,
    /// Whether what is known is the registry's present state: `live`, `stale`, `pending`.
    pub freshness: &'static str,
    /// Why it is not, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_error: Option<String>,
    /// Open connections to each node's address, in the order of `nodes`. Nodes at one address share
    /// them.
    pub connections: Vec<u32>,
}

impl Client {
    /// What is known of each service that was called, by name: for an admin page.
    #[must_use]
    pub fn stats(&self) -> Vec<ServiceStats> {
        let mut names = self.services();
        names.sort();
        let routes = names.iter().filter_map(|name| self.known(name.as_str()));
        routes
            .map(|route| {
                let picks = route.balancer.explain();
                let nodes = route.balancer.nodes();
                let open = nodes.iter().filter_map(|node| {
                    let peer = Peer::of(node, self.pools())?;
                    Some((node.id().as_str(), peer.pool.open()))
                });
                let open: HashMap<&str, u32> = open.collect();
                let connections = picks.nodes.iter().map(|node| open.get(&*node.id).copied());
                let connections = connections.map(Option::unwrap_or_default);
                ServiceStats {
                    connections: connections.collect(),
                    freshness: match route.freshness() {
                        Freshness::Live => "live",
                        Freshness::Pending => "pending",
                        _ => "stale",
                    },
                    registry_error: route.registry_error().map(|error| error.to_string()),
                    picks,
                }
            })
            .collect()
    }
}
