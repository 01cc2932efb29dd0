//! The rules of the model, written a second time: what a decoder accepted is held against these and
//! not against the functions that accepted it.

use std::net::IpAddr;

use waypost_core::{Instance, Metadata};

/// Whatever a registry holds, an instance that is handed to callers keeps these.
pub(crate) fn keeps(instance: &Instance) {
    readable(instance.service.as_str(), 128);
    readable(instance.node.id.as_str(), 256);
    dialled(instance.node.address.as_str());
    assert!(instance.version.len() <= 128 && plain(&instance.version));
    assert!(instance.endpoints.len() <= 256);
    pairs(&instance.metadata);
    pairs(&instance.node.metadata);
    instance
        .endpoints
        .iter()
        .for_each(|endpoint| pairs(&endpoint.metadata));
}

fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn pairs(metadata: &Metadata) {
    assert!(metadata.len() <= 64);
    for (key, value) in metadata {
        assert!((1..=128).contains(&key.len()) && plain(key), "{key:?}");
        assert!(value.len() <= 4096 && plain(value), "{value:?}");
    }
}

/// A name that nobody can mistake for a path, a second line or nothing.
pub(crate) fn readable(name: &str, most: usize) {
    assert!((1..=most).contains(&name.len()), "{name:?}");
    assert!(plain(name) && name.trim() == name, "{name:?}");
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    assert!(!name.split('/').any(odd), "{name:?}");
}

/// An address that a caller may dial.
pub(crate) fn dialled(address: &str) {
    let (host, port) = address.rsplit_once(':').expect("a port");
    let port: u32 = port.parse().expect("a number");
    assert!((1..=65535).contains(&port), "{address:?}");
    let odd = |c: char| !c.is_ascii_graphic() || "/@?#%\\\"'<>,;()|&$`{}*!".contains(c);
    assert!(!host.is_empty() && !host.contains(odd), "{address:?}");
    let ip = match host.strip_prefix('[') {
        Some(rest) => Some(
            rest.strip_suffix(']')
                .expect("a bracket")
                .parse()
                .expect("an IPv6 address"),
        ),
        None => host.parse::<IpAddr>().ok().or_else(|| old_spelling(host)),
    };
    let Some(ip) = ip.map(|ip: IpAddr| ip.to_canonical()) else {
        return;
    };
    assert!(!ip.is_unspecified() && !ip.is_multicast(), "{address:?}");
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    };
    assert!(!link_local, "{address:?}");
}

/// What the C library's `inet_aton` makes of a host: up to four numbers, decimal, octal or
/// hexadecimal, of which the last fills what is left.
fn old_spelling(host: &str) -> Option<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let numbers: Vec<u64> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, bytes) = numbers.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let mut ip = *last;
    for (place, byte) in bytes.iter().enumerate() {
        ip += byte << (24 - 8 * place);
    }
    u32::try_from(ip).ok().map(|ip| IpAddr::V4(ip.into()))
}

fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u64::from_str_radix(digits, 8).ok(),
        _ => lower.parse().ok(),
    }
}

/// A path of plain segments from the root.
pub(crate) fn readable_path(path: &str) {
    let inner = path.strip_prefix('/').expect("a leading slash");
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    assert!(plain(path) && !inner.split('/').any(odd), "{path:?}");
}
