//! One question to the name servers, and what they may say to it.

use async_trait::async_trait;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RecordType};
use waypost_core::Result;

/// Whoever answers questions: name servers, or a table in a test.
#[async_trait]
pub(crate) trait Ask: Send + Sync + 'static {
    /// Asks for the records of `kind` at `name`.
    ///
    /// # Errors
    /// Whenever it is not known what there is: the answer is never a guess.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Reply>;
}

/// What name servers said.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// There are records, or an alias to follow.
    Records(Message),
    /// There are none, by authority.
    Nothing(Nothing),
}

/// A negative answer (RFC 2308).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Nothing {
    /// Whether the name exists, with records of other kinds.
    pub(crate) exists: bool,
    /// For how many seconds that may be believed.
    pub(crate) ttl: Option<u32>,
    /// The zone's serial.
    pub(crate) serial: Option<u32>,
}
