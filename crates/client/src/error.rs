//! How a call can fail.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use waypost_resilience::{Sent, Why, code};

/// A result with a call's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What made a call fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked makes no sense; nothing was sent.
    Config,
    /// The registry is sure that the service has no node (404).
    NotFound,
    /// No node can be called now: the registry knows none, or none passes the filters (503).
    NoneAvailable,
    /// The registry could not tell, and nothing is known from before (503).
    Registry,
    /// No connection to a node could be made (503).
    Connect,
    /// The connection broke, or the node's answer is no answer (500).
    Transport,
    /// The time is over (408).
    Timeout,
    /// The node answered with an error.
    Node,
    /// An answer cannot be read, or is longer than allowed (500).
    Decode,
    /// A layer ended the call with an error of its own (500).
    Layer,
}

/// A failed call: what, of which node, after how many attempts, and whether it may have run.
///
/// `Display` is one sentence without the source. [`Error::code`] is go-micro's (and HTTP's): 404
/// unknown service, 408 deadline, 429 too many, 500, 503.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: u16,
    id: String,
    detail: String,
    service: String,
    endpoint: String,
    node: Option<String>,
    sent: Sent,
    attempts: u32,
    ended: Option<Why>,
    retry_after: Option<Duration>,
    no_retry: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// go-micro's error as it travels.
#[derive(Serialize)]
struct Wire<'a> {
    id: &'a str,
    code: u16,
    detail: String,
    status: &'a str,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        let code = match kind {
            ErrorKind::Config => code::BAD_REQUEST,
            ErrorKind::NotFound => code::NOT_FOUND,
            ErrorKind::NoneAvailable | ErrorKind::Registry | ErrorKind::Connect => {
                code::UNAVAILABLE
            }
            ErrorKind::Timeout => code::TIMEOUT,
            ErrorKind::Transport | ErrorKind::Node | ErrorKind::Decode | ErrorKind::Layer => {
                code::INTERNAL
            }
        };
        Self(Box::new(Inner {
            kind,
            code,
            id: "waypost.client".to_owned(),
            detail: detail.into(),
            service: String::new(),
            endpoint: String::new(),
            node: None,
            sent: Sent::Never,
            attempts: 0,
            ended: None,
            retry_after: None,
            no_retry: false,
            source: None,
        }))
    }

    pub(crate) fn config(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, detail)
    }

    pub(crate) fn with_source(mut self, source: impl Into<crate::BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_sent(mut self, sent: Sent) -> Self {
        self.0.sent = sent;
        self
    }

    pub(crate) fn with_node(mut self, node: impl fmt::Display) -> Self {
        self.0.node = Some(node.to_string());
        self
    }

    pub(crate) fn with_code(mut self, id: impl Into<String>, code: u16) -> Self {
        self.0.id = id.into();
        self.0.code = code;
        self
    }

    pub(crate) fn with_pushback(mut self, pause: Option<Duration>, no_retry: bool) -> Self {
        self.0.retry_after = pause;
        self.0.no_retry = no_retry;
        self
    }

    pub(crate) fn of_call(mut self, service: &str, endpoint: &str, attempts: u32) -> Self {
        self.0.service = service.to_owned();
        self.0.endpoint = endpoint.to_owned();
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn ended_by(mut self, why: Why) -> Self {
        self.0.ended = Some(why);
        self
    }

    /// What made the call fail.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// go-micro's code of it, which is HTTP's.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// Who says so: `waypost.client`, or what the node's own error names.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What happened, without what it was about.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The last node that was tried.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// How many attempts were begun.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether the call may have run all the same: it was sent, and no answer came. A call that is
    /// not declared idempotent is not repeated then.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.0.sent == Sent::Maybe
    }

    /// How far the last attempt came.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.0.sent
    }

    /// Why there was no further attempt, if attempts were made.
    #[must_use]
    pub fn ended(&self) -> Option<Why> {
        self.0.ended
    }

    /// How long the node asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn forbids_retry(&self) -> bool {
        self.0.no_retry
    }

    /// go-micro's error JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let status = http::StatusCode::from_u16(self.0.code)
            .ok()
            .and_then(|status| status.canonical_reason());
        let wire = Wire {
            id: &self.0.id,
            code: self.0.code,
            detail: self.to_string(),
            status: status.unwrap_or("Error"),
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// The sentence and every cause below it, joined by `: `, each printed once.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let more = cause.to_string();
            if !more.is_empty() && !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if !inner.service.is_empty() {
            write!(
                f,
                "call {} of `{}`",
                inner.endpoint.escape_debug(),
                inner.service
            )?;
            if let Some(node) = &inner.node {
                write!(f, " on node {node}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.detail)?;
        if inner.sent == Sent::Maybe {
            f.write_str("; it may have run")?;
        }
        if inner.attempts > 1 {
            write!(f, " (after {} attempts", inner.attempts)?;
            if let Some(why) = inner.ended {
                write!(f, ": {why}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("message", &self.chain())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref();
        source.map(|source| source as &(dyn StdError + 'static))
    }
}
