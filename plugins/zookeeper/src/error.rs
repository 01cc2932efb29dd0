//! What the client tells, as errors of the house.

use waypost_core::{Error, ErrorKind};
use zookeeper_client::Error as Told;

use crate::config::DRIVER;

/// Bytes of a record that a server may be told not to take.
const LARGE: usize = 64 * 1024;

/// The one place where what the client says becomes a kind.
pub(crate) fn translate(told: &Told) -> Error {
    let (kind, sentence) = judge(told);
    let error = Error::new(kind, sentence);
    match told {
        // These say more than our sentence.
        Told::Custom(_)
        | Told::UnexpectedError(_)
        | Told::UnexpectedErrorCode(_)
        | Told::UnmarshalError { .. }
        | Told::BadArguments(_) => error.with_source(told.clone()),
        _ => error,
    }
}

/// As [`translate`], of a request that carried so many bytes. A server ends the connection on
/// which more comes than it takes, and says nothing.
pub(crate) fn translate_write(told: &Told, bytes: usize) -> Error {
    if bytes < LARGE || !loses_connection(told) {
        return translate(told);
    }
    Error::unavailable(format!(
        "the connection to the server was lost; the record has {bytes} bytes, which may be more \
         than the server takes (`jute.maxbuffer`)"
    ))
}

fn judge(told: &Told) -> (ErrorKind, &'static str) {
    use ErrorKind::{
        Config, Corrupt, Denied, Internal, NotFound, Throttled, Unavailable, Unsupported,
    };
    match told {
        Told::NoAuth => (
            Denied,
            "the znode's access list does not allow it; check user and password, and the lists of \
             the znodes above",
        ),
        Told::AuthFailed => (Denied, "the server refused the user"),
        Told::NoHosts => (Unavailable, "no server could be reached"),
        Told::Timeout => (Unavailable, "no server opened a session in time"),
        Told::ConnectionLoss => (Unavailable, "the connection to the server was lost"),
        Told::SessionExpired => (Unavailable, "the session has expired"),
        Told::SessionMoved => (Unavailable, "the session has moved to another server"),
        Told::ClientClosed => (Unavailable, "the session is closed"),
        Told::NotReadOnly => (Unavailable, "the server has no quorum and only reads"),
        Told::NodeExists | Told::BadVersion | Told::RuntimeInconsistent => {
            (Unavailable, "others keep changing the znode")
        }
        Told::Throttled => (Throttled, "the server has too much to do"),
        Told::QuotaExceeded => (Throttled, "the quota of the path is used up"),
        Told::NoNode => (NotFound, "there is no such znode"),
        Told::NoChildrenForEphemerals => (
            Config,
            "a znode above is ephemeral and can have no children; remove it",
        ),
        Told::NotEmpty => (Config, "the znode has children; remove them"),
        Told::InvalidAcl => (Config, "the server does not take the access list"),
        Told::BadArguments(_) => (Config, "the server does not take the path or the request"),
        Told::Unimplemented => (
            Unsupported,
            "the server is too old for the request; option `server_version` names its version",
        ),
        Told::MarshallingError => (
            Corrupt,
            "the server did not understand the request; below 3.5 it needs option `server_version`",
        ),
        Told::UnmarshalError { .. } | Told::UnexpectedErrorCode(_) => {
            (Corrupt, "the server's answer makes no sense")
        }
        Told::UnexpectedError(_) => (Unavailable, "the session failed"),
        Told::Custom(_) => (Unavailable, "the connection failed"),
        Told::NoWatcher | Told::ReconfigDisabled => (Internal, "an answer to what was not asked"),
        // What nobody foresaw is tried again rather than given up.
        _ => (Unavailable, "failed for a reason that is not known here"),
    }
}

/// Whether a session ended in `told`, and with it everything that it owned.
pub(crate) fn ends_session(told: &Told) -> bool {
    matches!(
        told,
        Told::SessionExpired | Told::SessionMoved | Told::ClientClosed | Told::AuthFailed
    )
}

/// Whether the connection was lost before the answer came. The client tells a socket's own errors
/// as they are.
pub(crate) fn loses_connection(told: &Told) -> bool {
    matches!(told, Told::ConnectionLoss | Told::Custom(_))
}

/// Whether the server answered that it did not do it: nothing was written.
pub(crate) fn is_refusal(told: &Told) -> bool {
    matches!(
        told,
        Told::NoAuth
            | Told::InvalidAcl
            | Told::BadArguments(_)
            | Told::NoChildrenForEphemerals
            | Told::NotReadOnly
            | Told::QuotaExceeded
            | Told::Throttled
            | Told::Unimplemented
            | Told::MarshallingError
            | Told::UnexpectedErrorCode(_)
    ) || is_race(told)
}

/// Whether the operation found another state than it had read, so that it is to be begun again.
pub(crate) fn is_race(told: &Told) -> bool {
    matches!(told, Told::NoNode | Told::NodeExists | Told::BadVersion)
}

/// A lease whose session ended.
pub(crate) fn session_lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the session has expired, and with it the record",
    )
}

/// A lease whose record is not ours any more.
pub(crate) fn record_lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the record has expired, or was removed or taken over",
    )
}

pub(crate) fn other_key(found: &waypost_core::InstanceKey) -> Error {
    Error::config(format!("the new content belongs to {found}"))
}

pub(crate) fn short_ttl(ttl: std::time::Duration) -> Error {
    let least = DRIVER.profile.least_ttl;
    Error::config(format!(
        "a ttl of {ttl:?} is too short; at least {least:?} is needed"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_becomes_the_right_kind() {
        use ErrorKind::{
            Config, Corrupt, Denied, Internal, NotFound, Throttled, Unavailable, Unsupported,
        };
        for (told, kind) in [
            (Told::NoAuth, Denied),
            (Told::AuthFailed, Denied),
            (Told::NoHosts, Unavailable),
            (Told::Timeout, Unavailable),
            (Told::ConnectionLoss, Unavailable),
            (Told::SessionExpired, Unavailable),
            (Told::SessionMoved, Unavailable),
            (Told::ClientClosed, Unavailable),
            (Told::NotReadOnly, Unavailable),
            (Told::NodeExists, Unavailable),
            (Told::BadVersion, Unavailable),
            (Told::RuntimeInconsistent, Unavailable),
            (Told::UnexpectedError("x".to_owned()), Unavailable),
            (Told::Throttled, Throttled),
            (Told::QuotaExceeded, Throttled),
            (Told::NoNode, NotFound),
            (Told::NoChildrenForEphemerals, Config),
            (Told::NotEmpty, Config),
            (Told::InvalidAcl, Config),
            (Told::BadArguments(&"x"), Config),
            (Told::Unimplemented, Unsupported),
            (Told::MarshallingError, Corrupt),
            (Told::UnexpectedErrorCode(-7), Corrupt),
            (Told::NoWatcher, Internal),
            (Told::ReconfigDisabled, Internal),
        ] {
            let error = translate(&told);
            assert_eq!(error.kind(), kind, "{told:?}");
            let text = error.to_string();
            assert!(
                !text.ends_with('.') && !text.starts_with(char::is_uppercase),
                "{text}"
            );
        }
    }

    #[test]
    fn what_was_refused_was_not_written_and_what_was_not_answered_may_have_been() {
        for told in [
            Told::NoAuth,
            Told::UnexpectedErrorCode(-1),
            Told::NodeExists,
        ] {
            assert!(is_refusal(&told), "{told}");
        }
        for told in [
            Told::ConnectionLoss,
            Told::Timeout,
            Told::SessionExpired,
            Told::UnexpectedError("x".to_owned()),
        ] {
            assert!(!is_refusal(&told), "{told}");
        }
    }

    #[test]
    fn a_large_record_may_be_why_the_connection_was_lost() {
        let text = |told, bytes| translate_write(&told, bytes).to_string();
        assert!(text(Told::ConnectionLoss, 100_000).contains("jute.maxbuffer"));
        assert!(!text(Told::ConnectionLoss, 1_000).contains("jute.maxbuffer"));
        assert!(!text(Told::NoAuth, 100_000).contains("jute.maxbuffer"));
    }

    #[test]
    fn a_text_that_says_more_is_the_source() {
        let error = translate(&Told::UnexpectedError("no such host".to_owned()));
        assert!(error.chain().contains("no such host"), "{}", error.chain());
        assert_eq!(translate(&Told::NoNode).chain(), "there is no such znode");
    }
}
