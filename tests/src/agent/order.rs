//! What passes between an agent and the one who started it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an agent is told, as JSON in the environment variable [`Order::VARIABLE`] (and not on its
/// command line, since a registry's URL may hold a password).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// URL of the registry.
    pub registry: String,
    /// The service to register.
    pub service: String,
    /// Ids of its nodes.
    pub nodes: Vec<String>,
    /// Ttl to ask for.
    pub ttl: Duration,
    /// Whether to follow the service as well.
    pub follow: bool,
}

impl Order {
    /// Name of the environment variable.
    pub const VARIABLE: &str = "WAYPOST_TEST_AGENT";
}

/// What an agent tells, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: String,
    /// The state that its registration has entered.
    pub state: String,
    /// Kind of the failure behind it.
    pub kind: Option<String>,
    /// The failure.
    pub cause: Option<String>,
}
