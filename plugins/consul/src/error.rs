//! What can go wrong between us and an agent.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use waypost_core::{Error, ErrorKind, InstanceKey};
use waypost_plugin_kit::tls;

use crate::config::PROFILE;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    /// `host:port` of the agent.
    pub(crate) peer: Arc<str>,
    pub(crate) how: How,
}

/// How a request failed.
#[derive(Debug)]
pub(crate) enum How {
    /// The agent answered with an error.
    Status {
        status: StatusCode,
        /// The first line that it said.
        text: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The request did not get through, or the answer did not.
    Transport(reqwest::Error),
    /// The connection ended over TLS before this agent ever answered; whether we show a
    /// certificate.
    Closed(bool),
    /// The answer has more bytes than this.
    TooLarge(usize),
    /// The answer is no JSON of the expected form.
    Garbage(serde_json::Error),
}

/// The one translation of the agent's errors.
///
/// Consul says much by its texts, and says it differently from version to version: an unknown check
/// is 500 in 1.8 and 404 in later ones.
pub(crate) fn of(Fault { peer, how }: Fault) -> Error {
    match how {
        How::Status {
            status,
            text,
            retry_after,
        } => {
            let (kind, sentence) = of_status(status, &text);
            let error = Error::new(kind, format!("{peer}: {sentence}"));
            match retry_after {
                Some(pause) => error.with_retry_after(pause),
                None => error,
            }
        }
        How::Transport(error) => of_transport(&peer, error.without_url()),
        How::Closed(shows) => Error::unavailable(format!("{peer}: {}", tls::closed(shows))),
        How::TooLarge(limit) => Error::new(
            ErrorKind::Corrupt,
            format!("{peer}: the agent's answer is over {limit} bytes"),
        ),
        How::Garbage(error) => Error::new(
            ErrorKind::Corrupt,
            format!("{peer}: the agent's answer makes no sense"),
        )
        .with_source(error),
    }
}

fn of_status(status: StatusCode, text: &str) -> (ErrorKind, String) {
    let said = |kind, before: &str| (kind, format!("{before}: {}", shown(status, text)));
    let has = |part: &str| text.contains(part);
    match status.as_u16() {
        404 | 500 if has("does not have associated TTL") || has("nknown check") => {
            said(ErrorKind::LeaseLost, "the agent does not know the record")
        }
        404 if has("nknown service") => said(ErrorKind::NotFound, "the agent has no such record"),
        401 | 403 => said(ErrorKind::Denied, "the agent refuses the token"),
        500 if has("Permission denied") || has("ACL not found") => {
            said(ErrorKind::Denied, "the agent refuses the token")
        }
        400 if has("HTTP request to an HTTPS server") => (
            ErrorKind::Config,
            "the agent speaks TLS; write https:// before its address, or set `tls=true`".to_owned(),
        ),
        400 | 413 => said(ErrorKind::Config, "the agent does not take the request"),
        404 | 405 | 501 => said(ErrorKind::Unsupported, "the agent cannot do this"),
        429 => said(ErrorKind::Throttled, "the agent asks for less"),
        500..=599 => said(ErrorKind::Unavailable, "the agent cannot serve"),
        _ => said(ErrorKind::Corrupt, "this is no answer of an agent"),
    }
}

fn of_transport(peer: &str, error: reqwest::Error) -> Error {
    if let Some(reason) = tls::reason(&innermost(&error)) {
        // The client's error is no source: it would say the same again, in more words.
        return Error::unavailable(format!("{peer}: {reason}"));
    }
    let (kind, text) = if error.is_timeout() && !error.is_connect() {
        (ErrorKind::Timeout, "the agent did not answer in time")
    } else if error.is_builder() {
        (ErrorKind::Internal, "the request could not be made")
    } else if error.is_decode() {
        (ErrorKind::Corrupt, "the agent's answer cannot be read")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "the agent cannot be reached")
    } else {
        (ErrorKind::Unavailable, "the connection to the agent broke")
    };
    Error::new(kind, format!("{peer}: {text}")).with_source(error)
}

/// Whether the connection was there, and ended before the answer came.
pub(crate) fn is_closed(error: &reqwest::Error) -> bool {
    let is_other =
        error.is_timeout() || error.is_connect() || error.is_builder() || error.is_decode();
    !is_other && tls::reason(&innermost(error)).is_none()
}

/// The text of the cause below all others.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// What the agent said, fit for one line of a log.
fn shown(status: StatusCode, text: &str) -> String {
    let text: String = text.trim().chars().take(200).collect();
    let text = text.replace(char::is_control, " ");
    match text.as_str() {
        "" => status.to_string(),
        text => format!("{text} ({})", status.as_u16()),
    }
}

/// Whether another agent of the cluster may do what this one could not.
pub(crate) fn is_agents_own(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

pub(crate) fn short_ttl(ttl: Duration) -> Error {
    let least = PROFILE.least_ttl;
    Error::config(format!(
        "a ttl of {ttl:?} is too short; at least {least:?} is needed"
    ))
}

pub(crate) fn other_key(found: &InstanceKey) -> Error {
    Error::config(format!("the new content belongs to {found}"))
}

pub(crate) fn lost(how: &str) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("the record {how}"))
}

/// The servers have no leader at the moment, or this agent knows of none.
pub(crate) fn leaderless(peer: &str) -> Error {
    Error::unavailable(format!("{peer}: the agent knows no leader to write to"))
}

/// The agent has a record, and the servers have not.
pub(crate) fn untold() -> Error {
    Error::unavailable("the agent took the record and does not tell the servers of it")
}

/// An empty answer that is empty because the token may not see more.
pub(crate) fn hidden(peer: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!(
            "{peer}: the agent shows nothing, and the token may not read {what}; \
             it needs `service:read` on the name and `node:read`"
        ),
    )
}

/// An answer that changed though nothing was written: the token's rights did.
pub(crate) fn vanished() -> Error {
    Error::new(
        ErrorKind::Denied,
        "the agent shows nothing any more, though nothing was written: the token lost its rights",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(how: How) -> Fault {
        let peer = "h:1".into();
        Fault { peer, how }
    }

    fn status(status: StatusCode, text: impl Into<String>) -> Fault {
        fault(How::Status {
            status,
            text: text.into(),
            retry_after: None,
        })
    }

    #[test]
    fn every_answer_has_its_kind() {
        use ErrorKind::*;
        for (code, text, kind) in [
            // 1.8
            (
                500,
                "CheckID \"service:a\" does not have associated TTL",
                LeaseLost,
            ),
            (500, "Unknown check \"service:a\"", LeaseLost),
            (404, "unknown service ID: a", NotFound),
            (403, "Permission denied: Missing service:write on a", Denied),
            (403, "ACL not found", Denied),
            (401, "ACL support disabled", Denied),
            (500, "No cluster leader", Unavailable),
            (500, "rpc error making call: EOF", Unavailable),
            (500, "rpc error making call: Permission denied", Denied),
            (400, "Missing service name", Config),
            (
                400,
                "Client sent an HTTP request to an HTTPS server.",
                Config,
            ),
            (404, "", Unsupported),
            (405, "method GET not allowed", Unsupported),
            // later
            (
                404,
                "Unknown check ID \"service:a\". Ensure that the check ID is passed, not the check name.",
                LeaseLost,
            ),
            (
                404,
                "Unknown service ID \"a\". Ensure that the service ID is passed, not the service name.",
                NotFound,
            ),
            (
                403,
                "Permission denied: token with AccessorID '0' lacks permission 'service:read' on \"a\"",
                Denied,
            ),
            (403, "token does not exist: ACL not found", Denied),
            (
                429,
                "Your IP is issuing too many concurrent connections, please rate limit your calls",
                Throttled,
            ),
            (
                503,
                "rate limit exceeded, try again later or against a different server",
                Unavailable,
            ),
            // what is no agent
            (301, "", Corrupt),
            (502, "<html>Bad Gateway</html>", Unavailable),
            (418, "", Corrupt),
        ] {
            let code = StatusCode::from_u16(code).expect("status");
            let error = of(status(code, text));
            assert_eq!(error.kind(), kind, "{code} {text}");
        }
    }

    #[test]
    fn what_an_agent_says_stays_on_one_short_line() {
        let text = format!("a\r\n\u{1b}[31m{}", "x".repeat(10_000));
        let error = of(status(StatusCode::BAD_GATEWAY, text)).to_string();
        assert!(
            error.len() < 300 && !error.contains(char::is_control),
            "{error}"
        );
        let bare = of(status(StatusCode::BAD_GATEWAY, ""));
        assert_eq!(
            bare.to_string(),
            "h:1: the agent cannot serve: 502 Bad Gateway"
        );
    }

    #[test]
    fn answers_that_are_none_are_corrupt() {
        let garbage = serde_json::from_str::<u8>("<html>").expect_err("no JSON");
        assert_eq!(of(fault(How::Garbage(garbage))).kind(), ErrorKind::Corrupt);
        assert_eq!(of(fault(How::TooLarge(7))).kind(), ErrorKind::Corrupt);
    }
}
