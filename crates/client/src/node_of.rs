//! Which node an answer came from.

use std::sync::Arc;

use waypost_selector::Node;

/// The node that an answer came from: in the extensions of every response.
#[derive(Debug, Clone)]
pub struct NodeOf {
    node: Arc<Node>,
    attempts: u32,
}

impl NodeOf {
    pub(crate) fn new(node: Arc<Node>, attempts: u32) -> Self {
        Self { node, attempts }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How many attempts were begun, this answer's among them.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}
