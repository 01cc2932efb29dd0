//! The parts of a target's text.

use std::net::Ipv6Addr;

use crate::{Error, Result};

/// An address as `host:port`, with `default_port` where it names none.
pub(super) fn endpoint(address: &str, default_port: u16) -> Result<String> {
    // An `@` in it was encoded, and a login with it.
    let shown = if address.contains('@') {
        "[redacted]"
    } else {
        address
    };
    let fault = |rule: &str| Error::config(format!("registry address {shown:?} {rule}"));
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    let port = match port {
        None => default_port,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => port,
            _ => return Err(fault("has no valid port; 1 to 65535 are allowed")),
        },
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let good = match inner {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        }
    };
    if !good {
        return Err(fault("is not host:port"));
    }
    Ok(format!("{host}:{port}"))
}

/// Percent-decodes `text`; `what` names it in an error without showing it.
pub(super) fn decode(text: &str, what: &str) -> Result<String> {
    let fault = || Error::config(format!("the {what} has a broken percent-encoding"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            rest.next()
                .and_then(|byte| char::from(byte).to_digit(16))
                .ok_or_else(fault)
        };
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| fault())?);
    }
    let text = String::from_utf8(bytes).map_err(|_| fault())?;
    if text.chars().any(char::is_control) {
        return Err(Error::config(format!("the {what} has a control character")));
    }
    Ok(text)
}

/// Whether an option sounds like a secret; the name of a file that holds one is none.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let sounds = ["pass", "secret", "token"]
        .iter()
        .any(|word| key.contains(word));
    sounds && !key.ends_with("_file")
}
