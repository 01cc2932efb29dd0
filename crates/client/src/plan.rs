//! What a call sends, and how its answer is taken, where that depends on the node.

use waypost_selector::Node;

use crate::error::Result;
use crate::route::Head;
use crate::rpc::{Heads, Protocol};
use crate::version::Version;

/// What a call sends to a node.
#[expect(
    clippy::large_enum_variant,
    reason = "the two faces make no allocation for what typed calls need"
)]
pub(crate) enum Plan {
    /// The same to all.
    Same(Head),
    /// What its protocol asks for.
    ByNode(Box<Heads>),
}

impl Plan {
    /// A head that says what holds for all nodes.
    pub(crate) fn any(&self) -> &Head {
        match self {
            Self::Same(head) => head,
            Self::ByNode(heads) => heads.any(),
        }
    }

    /// The endpoint, where the call does not name it.
    pub(crate) fn endpoint(&self) -> &str {
        match self {
            Self::Same(head) => head.path.path(),
            Self::ByNode(heads) => heads.endpoint(),
        }
    }

    /// The head for `node`; an error where the call cannot be put in its protocol.
    pub(crate) fn head(&self, node: &Node) -> Result<&Head> {
        match self {
            Self::Same(head) => Ok(head),
            Self::ByNode(heads) => heads.of(node),
        }
    }

    /// Which HTTP `node` is spoken to in.
    pub(crate) fn version(&self, node: &Node) -> Version {
        match self {
            Self::Same(head) => head.version,
            Self::ByNode(_) => Protocol::of(node).version(),
        }
    }
}

/// How an answer is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// As it comes, by who called.
    Passed,
    /// Whole, by the attempt, so that an answer that breaks off can be tried again.
    Message {
        protocol: Protocol,
        /// The longest that is read.
        largest: usize,
    },
}
