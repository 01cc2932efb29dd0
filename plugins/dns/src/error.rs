//! What can go wrong here.

use std::fmt;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use waypost_core::{Error, ErrorKind};

use crate::config::PROFILE;
use crate::names::plain;

pub(crate) fn read_only() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "nobody registers in DNS; change the domain's records themselves",
    )
    .with_driver(PROFILE.driver)
}

/// The domain has no list of its services.
pub(crate) fn no_list(domain: &Name) -> Error {
    let message = if domain.is_root() {
        "without a domain there is no list of services; ask for a service by its complete name"
            .to_owned()
    } else {
        let domain = plain(domain);
        format!(
            "the domain {domain} does not list its services (RFC 6763: PTR records at \
             _services._dns-sd._udp.{domain}); ask for a service by its name"
        )
    };
    Error::new(ErrorKind::Unsupported, message)
}

/// An alias of an alias of an alias.
pub(crate) fn aliases(name: &Name, most: usize) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{} is an alias in a circle, or of over {most} steps",
            plain(name)
        ),
    )
}

/// What the client tells of the name server at `place`.
pub(crate) fn fault(place: impl fmt::Display, name: &Name, told: &NetError) -> Error {
    let (kind, text) = judge(told);
    Error::new(
        kind,
        format!("name server {place} {text} ({})", plain(name)),
    )
    .with_source(told.clone())
}

/// The one function from the client's errors to kinds. "No records" is none of them: see
/// [`crate::servers`].
fn judge(told: &NetError) -> (ErrorKind, &'static str) {
    match told {
        NetError::Dns(DnsError::ResponseCode(code)) => match *code {
            ResponseCode::Refused | ResponseCode::NotAuth => {
                (ErrorKind::Denied, "refuses to answer")
            }
            ResponseCode::ServFail => (ErrorKind::Unavailable, "cannot answer now (SERVFAIL)"),
            ResponseCode::NotImp => (ErrorKind::Unsupported, "does not know such questions"),
            _ => (
                ErrorKind::Corrupt,
                "answers with an error that makes no sense",
            ),
        },
        NetError::Dns(DnsError::NoRecordsFound(_)) => (
            ErrorKind::Unavailable,
            "knows nothing of it and refers to others; name a server that is responsible or recursive",
        ),
        NetError::Timeout => (ErrorKind::Timeout, "does not answer in time"),
        NetError::Truncated => (
            ErrorKind::Corrupt,
            "has an answer that fits into no message",
        ),
        NetError::Proto(_)
        | NetError::ForeignClassRecord { .. }
        | NetError::QueryCaseMismatch
        | NetError::Dns(_) => (ErrorKind::Corrupt, "answers with what makes no sense"),
        _ => (ErrorKind::Unavailable, "cannot be reached"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use hickory_resolver::proto::rr::{DNSClass, RecordType};

    use super::*;

    #[test]
    fn every_error_has_its_kind_and_names_the_server() {
        let code = |code| NetError::Dns(DnsError::ResponseCode(code));
        let foreign = NetError::ForeignClassRecord {
            record_name: Name::root(),
            record_class: DNSClass::CH,
            record_type: RecordType::A,
        };
        for (told, kind) in [
            (code(ResponseCode::Refused), ErrorKind::Denied),
            (code(ResponseCode::NotAuth), ErrorKind::Denied),
            (code(ResponseCode::ServFail), ErrorKind::Unavailable),
            (code(ResponseCode::NotImp), ErrorKind::Unsupported),
            (code(ResponseCode::FormErr), ErrorKind::Corrupt),
            (NetError::Timeout, ErrorKind::Timeout),
            (NetError::Truncated, ErrorKind::Corrupt),
            (NetError::NoConnections, ErrorKind::Unavailable),
            (NetError::Busy, ErrorKind::Unavailable),
            (
                io::Error::from(io::ErrorKind::ConnectionRefused).into(),
                ErrorKind::Unavailable,
            ),
            (foreign, ErrorKind::Corrupt),
        ] {
            let name = Name::from_ascii("Orders.example.org.").expect("name");
            let error = fault("10.0.0.53:53", &name, &told);
            assert_eq!(error.kind(), kind, "{told:?}");
            let text = error.to_string();
            assert!(text.starts_with("name server 10.0.0.53:53 "), "{text}");
            assert!(text.ends_with("(orders.example.org)"), "{text}");
        }
    }
}
