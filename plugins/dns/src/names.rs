//! What services are called in DNS.

use hickory_resolver::proto::rr::Name;
use waypost_core::{Error, Result, ServiceName};

/// Where a service whose kind is not said runs (RFC 2782).
const PROTOCOL: &str = "_tcp";

/// The domain that services are looked up under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Domain(Name);

/// The names of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `_orders._tcp.example.org.`: where SRV records and the list of instances stand.
    pub(crate) kind: Name,
    /// `orders.example.org.`: where addresses stand.
    pub(crate) host: Name,
}

impl Domain {
    /// Reads `example.org`, with or without slashes and a dot around it. Nothing is the root: services
    /// are then called by their complete names.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim_start_matches('/').trim_end_matches(['/', '.']);
        let labels = trimmed.split('.').filter(|_| !trimmed.is_empty());
        let name = labels.map(label).collect::<Option<Vec<_>>>();
        name.and_then(|labels| Name::from_labels(labels).ok())
            .map(Self)
            .ok_or_else(|| {
                Error::config(format!(
                    "the path {text:?} is no domain; labels of 1 to 63 letters, digits, `-` and `_` \
                     are allowed, 253 characters in all"
                ))
            })
    }

    /// The names of `service`; `None` when DNS has no room for it: a label over 63 bytes, over 255
    /// in all, characters that no host's name has. There can be no record of it then.
    ///
    /// The first label is the service, the others stand before the domain, so that a complete name
    /// and a name under its domain mean the same.
    pub(crate) fn place(&self, service: &ServiceName) -> Option<Place> {
        let labels = service.as_str().trim_end_matches('.').split('.');
        let labels = labels.map(label).collect::<Option<Vec<_>>>()?;
        let (first, rest) = labels.split_first()?;
        let marked = [b"_", *first].concat();
        let below =
            |labels: Vec<&[u8]>| Name::from_labels(labels).ok()?.append_domain(&self.0).ok();
        let kind = [&[marked.as_slice(), PROTOCOL.as_bytes()], rest].concat();
        Some(Place {
            kind: below(kind)?,
            host: below(labels.clone())?,
        })
    }

    /// Where the domain lists its services (RFC 6763, section 9).
    pub(crate) fn browse(&self) -> Option<Name> {
        let labels = ["_services", "_dns-sd", "_udp"].map(str::as_bytes);
        Name::from_labels(labels).ok()?.append_domain(&self.0).ok()
    }

    /// The domain itself.
    pub(crate) fn name(&self) -> &Name {
        &self.0
    }

    /// The service whose records stand at `kind`, a name from the domain's list. `None` for one
    /// that does not run over TCP.
    ///
    /// # Errors
    /// `Config` with the rule for one that is not the domain's or has no service's name.
    pub(crate) fn service(&self, kind: &Name) -> Result<Option<ServiceName>> {
        let labels: Vec<&[u8]> = kind.iter().collect();
        let (marked, protocol) = match labels.as_slice() {
            [marked, protocol, ..] if kind.trim_to(labels.len() - 2) == self.0 => {
                (*marked, *protocol)
            }
            _ => return Err(Error::config("is no kind of service of this domain")),
        };
        if !protocol.eq_ignore_ascii_case(PROTOCOL.as_bytes()) {
            return Ok(None);
        }
        let bare = marked
            .strip_prefix(b"_")
            .and_then(|bare| std::str::from_utf8(bare).ok());
        let bare = bare.ok_or_else(|| Error::config("does not begin with `_` and a name"))?;
        ServiceName::new(&bare.to_ascii_lowercase()).map(Some)
    }
}

/// A label as a host's name may have it; `_` stands in names of services.
fn label(text: &str) -> Option<&[u8]> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let good = (1..=63).contains(&text.len()) && text.bytes().all(plain);
    good.then_some(text.as_bytes())
}

/// A name as people write it: without the dot at its end, in lower case.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(domain: &str, service: &str) -> Option<(String, String)> {
        let domain = Domain::parse(domain).expect("domain");
        let service = ServiceName::foreign(service).expect("service");
        let place = domain.place(&service)?;
        Some((plain(&place.kind), plain(&place.host)))
    }

    #[test]
    fn a_service_has_its_two_names() {
        for (domain, service, kind, host) in [
            (
                "/example.org",
                "orders",
                "_orders._tcp.example.org",
                "orders.example.org",
            ),
            (
                "example.org./",
                "orders",
                "_orders._tcp.example.org",
                "orders.example.org",
            ),
            (
                "",
                "orders.example.org",
                "_orders._tcp.example.org",
                "orders.example.org",
            ),
            (
                "/svc.local",
                "http.orders",
                "_http._tcp.orders.svc.local",
                "http.orders.svc.local",
            ),
            ("/a", "Orders", "_orders._tcp.a", "orders.a"),
        ] {
            let found = place(domain, service).expect(service);
            assert_eq!(found, (kind.to_owned(), host.to_owned()));
        }
    }

    #[test]
    fn what_dns_cannot_hold_has_no_place() {
        let (long, many) = ("x".repeat(64), "x.".repeat(60) + "x");
        for service in [
            "a/b",
            "topic:news",
            "ünï",
            "a b",
            "*",
            "x\\y",
            "a..b",
            &long,
        ] {
            assert_eq!(place("/example.org", service), None, "{service}");
        }
        assert!(place("/example.org", &many).is_some());
        assert_eq!(place(&"y.".repeat(100), &many), None, "over 255 bytes");
        // With the `_` before it there is room for 62.
        assert_eq!(place("", &"x".repeat(63)), None);
        assert!(place("", &"x".repeat(62)).is_some());
    }

    #[test]
    fn wrong_domains_are_refused() {
        for bad in [
            "/a..b",
            "/a b",
            "/ünï",
            "/a/b",
            &"x".repeat(64),
            &"x.".repeat(130),
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kind_names_its_service() {
        let domain = Domain::parse("example.org").expect("domain");
        let name = |text: &str| Name::from_ascii(text).expect("name");
        let service = domain.service(&name("_Orders._tcp.Example.org."));
        assert_eq!(service.expect("service").expect("tcp").as_str(), "orders");
        assert_eq!(
            domain
                .service(&name("_printer._udp.example.org."))
                .expect("udp"),
            None
        );
        for foreign in [
            "_orders._tcp.example.com.",
            "orders._tcp.example.org.",
            "example.org.",
        ] {
            assert!(domain.service(&name(foreign)).is_err(), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn any_name_has_a_place_or_none(domain in "[a-z.]{0,80}", service in "\\PC{1,128}") {
            if let (Ok(domain), Ok(service)) = (Domain::parse(&domain), ServiceName::foreign(&service))
                && let Some(place) = domain.place(&service)
            {
                prop_assert!(place.kind.len() <= 255 && place.host.len() <= 255);
            }
        }
    }
}
