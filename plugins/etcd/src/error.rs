//! What the client tells, as errors of the house.

use std::error::Error as _;
use std::fmt;

use etcd_client::Error as Told;
use waypost_core::{Error, ErrorKind};
use waypost_plugin_kit::tls;

/// Longest reason that is passed on; a server may say anything.
const MAX_REASON: usize = 240;

/// gRPC's status codes, as numbers: the crate that names them is the client's own affair.
mod code {
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const DATA_LOSS: i32 = 15;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// What may help, besides waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing that this plugin could do.
    None,
    /// Ask another endpoint.
    Elsewhere,
    /// Log in again: the token is old or gone.
    Login,
    /// Ask for less at once.
    SmallerPage,
}

/// A failed try: the error, and what may help.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) error: Error,
    pub(crate) remedy: Remedy,
    pub(crate) reach: Reach,
    /// Whether a connection ended before the answer came.
    pub(crate) closed: bool,
}

/// How far a try came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// There was a connection.
    Connected,
    /// None could be made: refused, no such name, no agreement on TLS.
    Refused,
    /// None was made in time.
    TimedOut,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Translates what the client says about `peer`.
pub(crate) fn fault(peer: impl fmt::Display, told: &Told) -> Fault {
    let (code, text) = read(told);
    let (kind, remedy) = judge(code, &text);
    let reach = match told {
        // With a cause it was made here, when connecting; without one the server sent it.
        Told::GRpcStatus(status) if code == code::UNAVAILABLE && status.source().is_some() => {
            match text.as_str() {
                "deadline has elapsed" => Reach::TimedOut,
                _ => Reach::Refused,
            }
        }
        _ => Reach::Connected,
    };
    Fault {
        // The client's error is no source: its text repeats all of its own sources.
        error: Error::new(kind, format!("{peer}: {}", sentence(code, &text))),
        remedy,
        reach,
        closed: is_closed(&text),
    }
}

/// The status code, and the text nearest to the fault.
fn read(told: &Told) -> (i32, String) {
    match told {
        Told::GRpcStatus(status) => {
            let mut text = status.message().to_owned();
            let mut next = status.source();
            while let Some(cause) = next {
                text = cause.to_string();
                next = cause.source();
            }
            (i32::from(status.code()), text)
        }
        Told::WatchError(text) | Told::LeaseKeepAliveError(text) => (code::UNKNOWN, text.clone()),
        Told::InvalidArgs(_) | Told::InvalidUri(_) | Told::InvalidMetadataValue(_) => {
            (code::INVALID_ARGUMENT, told.to_string())
        }
        Told::TransportError(error) => {
            let mut text = error.to_string();
            let mut next = error.source();
            while let Some(cause) = next {
                text = cause.to_string();
                next = cause.source();
            }
            (code::INVALID_ARGUMENT, text)
        }
        other => (code::UNKNOWN, other.to_string()),
    }
}

/// The one place where what the client says becomes a kind. Texts go before codes: servers of
/// different versions give the same sentence different codes, and streams give none.
fn judge(code: i32, text: &str) -> (ErrorKind, Remedy) {
    use ErrorKind::{
        Config, Corrupt, Denied, LeaseLost, NotFound, Throttled, Timeout, Unavailable, Unsupported,
    };
    use Remedy::{Elsewhere, Login, SmallerPage};
    let says = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if says(&["lease not found"]) {
        (LeaseLost, Remedy::None)
    } else if says(&[
        "invalid auth token",
        "user name is empty",
        "revision of auth store is old",
    ]) {
        (Denied, Login)
    } else if says(&[
        "permission denied",
        "authentication failed",
        "received fatal alert",
    ]) {
        (Denied, Remedy::None)
    } else if says(&["database space exceeded"]) {
        (Unavailable, Remedy::None)
    } else if says(&["too many requests"]) {
        (Throttled, Remedy::None)
    } else if says(&["message length too large"]) {
        (Corrupt, SmallerPage)
    } else if says(&[
        "request is too large",
        "message larger than max",
        "too large lease TTL",
    ]) {
        (Config, Remedy::None)
    } else if says(&["compacted"]) {
        (Unavailable, Remedy::None)
    } else if says(&["future revision", "went backwards"]) {
        (Corrupt, Remedy::None)
    } else if says(&["mapped from HTTP status code"]) {
        // A proxy, or no etcd at all: that may change.
        (Unavailable, Elsewhere)
    } else if says(&["Timeout expired", "request timed out"]) {
        (Timeout, Elsewhere)
    } else {
        match code {
            code::INVALID_ARGUMENT | code::FAILED_PRECONDITION => (Config, Remedy::None),
            code::DEADLINE_EXCEEDED => (Timeout, Elsewhere),
            code::NOT_FOUND => (NotFound, Remedy::None),
            code::PERMISSION_DENIED => (Denied, Remedy::None),
            code::UNAUTHENTICATED => (Denied, Login),
            code::RESOURCE_EXHAUSTED => (Throttled, Remedy::None),
            code::OUT_OF_RANGE | code::DATA_LOSS => (Corrupt, Remedy::None),
            code::UNIMPLEMENTED => (Unsupported, Elsewhere),
            // Cancelled, unknown, internal, aborted and unavailable are a connection's troubles,
            // and what nobody foresaw is tried again rather than given up.
            _ => (Unavailable, Elsewhere),
        }
    }
}

/// The text as the end of a sentence, with what to do next where that is known.
fn sentence(code: i32, text: &str) -> String {
    let says = |needle: &str| text.contains(needle);
    let fixed = if says("Connection refused") {
        "connection refused"
    } else if says("deadline has elapsed") {
        "no connection within the connect timeout"
    } else if says("Timeout expired") {
        "no answer within the timeout of one try"
    } else if let Some(reason) = tls::reason(text) {
        reason
    } else if is_closed(text) {
        "the connection was closed; if it never works, the server may want TLS or a client certificate"
    } else if code == code::UNIMPLEMENTED {
        "the server does not speak this part of etcd's protocol"
    } else {
        return plain(text);
    };
    fixed.to_owned()
}

fn is_closed(text: &str) -> bool {
    let endings = [
        "broken pipe",
        "Broken pipe",
        "connection closed",
        "reset by peer",
    ];
    endings.iter().any(|ending| text.contains(ending))
}

/// A foreign text as one bounded line, without the decoration of its makers.
fn plain(text: &str) -> String {
    let text = text.rsplit_once(" desc = ").map_or(text, |(_, text)| text);
    let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
    let text = text.strip_prefix("mvcc: ").unwrap_or(text);
    let line = text.chars().take(MAX_REASON);
    let line: String = line.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.trim().is_empty() {
        return "failed without a reason".to_owned();
    }
    let line = line.trim();
    match line.split_at_checked(1) {
        Some((first, rest)) if !rest.starts_with(|c: char| c.is_ascii_uppercase()) => {
            first.to_lowercase() + rest
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_becomes_the_right_kind() {
        use ErrorKind::{
            Config, Corrupt, Denied, LeaseLost, NotFound, Throttled, Timeout, Unavailable,
            Unsupported,
        };
        for (code, text, kind, remedy) in [
            (
                5,
                "etcdserver: requested lease not found",
                LeaseLost,
                Remedy::None,
            ),
            (2, "lease not found", LeaseLost, Remedy::None),
            (7, "etcdserver: permission denied", Denied, Remedy::None),
            (
                2,
                "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
                Denied,
                Remedy::None,
            ),
            (16, "etcdserver: invalid auth token", Denied, Remedy::Login),
            (2, "etcdserver: invalid auth token", Denied, Remedy::Login),
            (3, "etcdserver: user name is empty", Denied, Remedy::Login),
            (
                3,
                "etcdserver: revision of auth store is old",
                Denied,
                Remedy::Login,
            ),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                Denied,
                Remedy::None,
            ),
            (
                2,
                "received fatal alert: CertificateRequired",
                Denied,
                Remedy::None,
            ),
            (
                14,
                "Connection refused (os error 111)",
                Unavailable,
                Remedy::Elsewhere,
            ),
            (14, "tcp connect error", Unavailable, Remedy::Elsewhere),
            (14, "etcdserver: no leader", Unavailable, Remedy::Elsewhere),
            (
                14,
                "invalid peer certificate: UnknownIssuer",
                Unavailable,
                Remedy::Elsewhere,
            ),
            (
                2,
                "stream closed because of a broken pipe",
                Unavailable,
                Remedy::Elsewhere,
            ),
            (1, "operation was canceled", Unavailable, Remedy::Elsewhere),
            (
                13,
                "h2 protocol error: http2 error",
                Unavailable,
                Remedy::Elsewhere,
            ),
            (1, "Timeout expired", Timeout, Remedy::Elsewhere),
            (4, "context deadline exceeded", Timeout, Remedy::Elsewhere),
            (
                14,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Timeout,
                Remedy::Elsewhere,
            ),
            (8, "etcdserver: too many requests", Throttled, Remedy::None),
            (8, "quota", Throttled, Remedy::None),
            (
                8,
                "etcdserver: mvcc: database space exceeded",
                Unavailable,
                Remedy::None,
            ),
            (3, "etcdserver: request is too large", Config, Remedy::None),
            (
                8,
                "grpc: received message larger than max (3 vs. 2)",
                Config,
                Remedy::None,
            ),
            (11, "etcdserver: too large lease TTL", Config, Remedy::None),
            (3, "etcdserver: key is not provided", Config, Remedy::None),
            (
                9,
                "etcdserver: authentication is not enabled",
                Config,
                Remedy::None,
            ),
            (
                11,
                "etcdserver: mvcc: required revision has been compacted",
                Unavailable,
                Remedy::None,
            ),
            (
                11,
                "etcdserver: mvcc: required revision is a future revision",
                Corrupt,
                Remedy::None,
            ),
            (
                11,
                "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
                Corrupt,
                Remedy::SmallerPage,
            ),
            (15, "etcdserver: corrupt cluster", Corrupt, Remedy::None),
            (5, "etcdserver: member not found", NotFound, Remedy::None),
            (12, "unknown method", Unsupported, Remedy::Elsewhere),
            (
                12,
                "grpc-status header missing, mapped from HTTP status code 404",
                Unavailable,
                Remedy::Elsewhere,
            ),
        ] {
            assert_eq!(judge(code, text), (kind, remedy), "{code} {text}");
        }
    }

    #[test]
    fn errors_name_the_peer_and_one_reason() {
        let told = Told::WatchError("etcdserver: permission denied".to_owned());
        let error = fault("10.0.0.1:2379", &told).error;
        assert_eq!(error.to_string(), "10.0.0.1:2379: permission denied");
        let told = Told::LeaseKeepAliveError("lease not found".to_owned());
        assert_eq!(fault("a:1", &told).error.kind(), ErrorKind::LeaseLost);
        let told = Told::WatchError(format!("evil\r\nline {}", "x".repeat(10_000)));
        let text = fault("a:1", &told).error.to_string();
        assert!(text.len() < 300 && !text.contains(['\r', '\n']), "{text}");
    }
}
