//! The one error that crosses the contract.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A result with Waypost's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; the same call fails again until somebody changes it.
    Config,
    /// This registry can never do what was asked.
    Unsupported,
    /// The thing does not exist, and the registry is sure of it.
    NotFound,
    /// The lease is gone or belongs to somebody else: register again.
    LeaseLost,
    /// The registry refused: wrong credentials or missing permission.
    Denied,
    /// The registry could not be reached, or cannot serve now.
    Unavailable,
    /// No answer within the deadline; the operation may have happened.
    Timeout,
    /// The registry asked for less.
    Throttled,
    /// The registry's answer makes no sense.
    Corrupt,
    /// The object was closed before.
    Closed,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::LeaseLost | Self::Unavailable | Self::Timeout | Self::Throttled | Self::Corrupt
        )
    }

    /// The kind as one lower-case word, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not_found",
            Self::LeaseLost => "lease_lost",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of a registry operation: its kind, where it happened, to what, and why.
///
/// `Display` is one sentence without the source; walk [`StdError::source`] for the chain, or use
/// [`Error::chain`]. Cloning is cheap, so that one failure can be told to many waiters.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    driver: Cow<'static, str>,
    operation: &'static str,
    subject: String,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` whose sentence is `message` (lower case, no full stop).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            driver: Cow::Borrowed(""),
            operation: "",
            subject: String::new(),
            message: message.into(),
            retry_after: None,
            source: None,
        }))
    }

    /// Shorthand for a [`ErrorKind::Config`] error.
    #[must_use]
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Shorthand for a [`ErrorKind::Unavailable`] error.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Names the driver; the first name given stays.
    #[must_use]
    pub fn with_driver(self, driver: impl Into<Cow<'static, str>>) -> Self {
        self.map(|inner| {
            if inner.driver.is_empty() {
                inner.driver = driver.into();
            }
        })
    }

    /// Names the operation (`register`, `renew`, `watch`, …) and the thing it was about; the first
    /// names given stay, since they were given nearest to the fault.
    #[must_use]
    pub fn with_operation(self, operation: &'static str, subject: impl fmt::Display) -> Self {
        self.map(|inner| {
            if inner.operation.is_empty() {
                inner.operation = operation;
                inner.subject = subject.to_string();
            }
        })
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.map(|inner| inner.source = Some(Arc::new(source)))
    }

    /// Notes how long the registry asked to be left alone.
    #[must_use]
    pub fn with_retry_after(self, pause: Duration) -> Self {
        self.map(|inner| inner.retry_after = Some(pause))
    }

    /// How long the registry asked to be left alone, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What went wrong, as far as a caller can act on it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient()
    }

    /// The driver that failed, if one was involved.
    #[must_use]
    pub fn driver(&self) -> Option<&str> {
        Some(self.0.driver.as_ref()).filter(|driver| !driver.is_empty())
    }

    /// The operation that failed, if one is named.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        Some(self.0.operation).filter(|operation| !operation.is_empty())
    }

    /// The name of the thing that the operation was about, if one is named.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        Some(self.0.subject.as_str()).filter(|subject| !subject.is_empty())
    }

    /// The sentence and every cause below it, joined by `: `, each printed once.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !cause_text.is_empty() && !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        text
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
            return self;
        }
        let shared = &self.0;
        let mut inner = Inner {
            kind: shared.kind,
            driver: shared.driver.clone(),
            operation: shared.operation,
            subject: shared.subject.clone(),
            message: shared.message.clone(),
            retry_after: shared.retry_after,
            source: shared.source.clone(),
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if !inner.driver.is_empty() {
            write!(f, "{}: ", inner.driver)?;
        }
        match (inner.operation, inner.subject.as_str()) {
            ("", _) => {}
            (operation, "") => write!(f, "{operation}: ")?,
            (operation, subject) => write!(f, "{operation} {subject}: ")?,
        }
        f.write_str(&inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.chain(), self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_sentence_and_the_chain_prints_each_cause_once() {
        let cause = Error::new(ErrorKind::Internal, "connection refused");
        let error = Error::unavailable("no endpoint answered")
            .with_source(cause)
            .with_operation("register", "orders/orders-1")
            .with_driver("etcd")
            .with_operation("ignored", "the nearest name stays")
            .with_driver("ignored");
        assert_eq!(
            error.to_string(),
            "etcd: register orders/orders-1: no endpoint answered"
        );
        assert_eq!(
            error.chain(),
            "etcd: register orders/orders-1: no endpoint answered: connection refused"
        );
    }

    #[test]
    fn a_shared_error_is_copied_before_it_is_named() {
        let shared = Error::config("ttl is 0");
        let named = shared.clone().with_driver("file");
        assert_eq!(shared.to_string(), "ttl is 0");
        assert_eq!(named.to_string(), "file: ttl is 0");
        assert_eq!(named.kind(), ErrorKind::Config);
    }
}
