//! Where a node listens.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::shown;
use crate::{Error, Result};

/// Where a node listens: `host:port`, checked.
///
/// The host is a DNS name, an IPv4 address or a bracketed IPv6 address; the port is 1 to 65535.
/// Addresses that no caller could or should dial are refused: unspecified (`0.0.0.0`),
/// link-local (where clouds keep their metadata services) and multicast.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Arc<str>);

impl Address {
    /// Checks `address`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the address and the rule it breaks.
    pub fn new(address: &str) -> Result<Self> {
        match address_fault(address) {
            None => Ok(Self(address.into())),
            Some(rule) => Err(Error::config(format!(
                "node address {} {rule}",
                shown(address)
            ))),
        }
    }

    /// The address as `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or(0)
    }
}

fn address_fault(address: &str) -> Option<String> {
    if address.len() > 300 {
        return Some(format!("is {} bytes long; at most 300", address.len()));
    }
    if address.contains("://") {
        return Some("is a URL; a bare host:port is needed".to_owned());
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("has no port; host:port is needed".to_owned());
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Some("has more than one `:`; put an IPv6 host in brackets".to_owned());
    }
    if host.is_empty() || bare == Some("") {
        return Some("has no host".to_owned());
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit())
        || !matches!(port.parse::<u32>(), Ok(1..=65535))
    {
        return Some(format!("has the port {port:?}; 1 to 65535 are allowed"));
    }
    if let Some(bare) = bare {
        return match bare.parse::<Ipv6Addr>() {
            Ok(ip) => ip_fault(IpAddr::V6(ip)),
            Err(_) => Some("has brackets around something that is no IPv6 address".to_owned()),
        };
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip_fault(ip);
    }
    if is_numeric(host) {
        return Some("has a host that is no IPv4 address".to_owned());
    }
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    if let Some(odd) = host.chars().find(|c| odd(*c)) {
        return Some(format!("has {odd:?} in its host"));
    }
    if host.starts_with(['.', '-']) || host.contains("..") {
        return Some("has a host that is no DNS name".to_owned());
    }
    None
}

/// Whether `host` is made of numbers alone. Resolvers take such a host for an IPv4 address in one of
/// its old spellings (`0xa9fea9fe`, `0251.0376.0xa9fe`), and would dial what [`ip_fault`] forbids.
fn is_numeric(host: &str) -> bool {
    host.split('.').all(|label| {
        let hex = label
            .strip_prefix("0x")
            .or_else(|| label.strip_prefix("0X"));
        match hex {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => label.bytes().all(|byte| byte.is_ascii_digit()),
        }
    })
}

fn ip_fault(ip: IpAddr) -> Option<String> {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() {
        Some("is the unspecified address; callers need one they can dial".to_owned())
    } else if link_local {
        Some("is link-local; that range is never dialled".to_owned())
    } else if ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) {
        Some("is a multicast or broadcast address".to_owned())
    } else {
        None
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Address {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;
    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_rule() {
        for good in [
            "127.0.0.1:80",
            "[::1]:8080",
            "localhost:1",
            "orders-1.svc_a.local:65535",
            "redis.1:6379",
            "0xcafe.example:80",
            "192.168.0.107:9090",
        ] {
            let address = Address::new(good).expect(good);
            assert_eq!(address.as_str(), good);
        }
        for bad in [
            "",
            "host",
            ":8080",
            "host:",
            "host:0",
            "host:99999",
            "host:+1",
            "http://x",
            "http://x:80",
            "0.0.0.0:80",
            "[::]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
            "224.0.0.1:80",
            "::1:80",
            "[x]:80",
            "user@evil:80",
            "a b:1",
            "unix:/run/x",
            "1.2.3:80",
            "256.1.1.1:80",
            "2852039166:80",
            "0xa9fea9fe:80",
            "0XA9FEA9FE:80",
            "0xa9.0xfe.43518:80",
            "0251.0376.0251.0376:80",
            "0xa9fea9fe.:80",
            "h\u{0}:80",
            "255.255.255.255:1",
        ] {
            let error = Address::new(bad).expect_err(bad).to_string();
            assert!(error.starts_with("node address "), "{error}");
        }
        for long in ["a\n://".repeat(60_000), "h".repeat(200_000)] {
            let error = Address::new(&long).expect_err("long").to_string();
            assert!(error.len() < 500 && !error.contains('\n'), "{error}");
        }
        assert_eq!(Address::new("[::1]:8080").expect("good").host(), "::1");
        assert_eq!(Address::new("[::1]:8080").expect("good").port(), 8080);
    }
}
