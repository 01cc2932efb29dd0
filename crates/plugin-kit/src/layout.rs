//! Where a record stands: go-micro's keys under a prefix.

use std::borrow::Cow;

use waypost_core::{Error, InstanceKey, Result, ServiceName};

/// A name as one part of a key. go-micro writes `-` for `/`, and so do we: that is not injective,
/// hence the record itself is asked for its name ([`codec::decode_record`](crate::codec)).
#[must_use]
pub fn segment(name: &str) -> Cow<'_, str> {
    if name.contains('/') {
        Cow::Owned(name.replace('/', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

/// What all keys of a registry begin with, such as `/micro/registry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Checks `path`: a leading `/` is added and a trailing one taken away where needed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for an empty path, and for an empty,
    /// `.` or `..` segment or a control character in it.
    pub fn new(path: &str) -> Result<Self> {
        let inner = path.strip_prefix('/').unwrap_or(path);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
        if inner.split('/').any(odd) {
            return Err(Error::config(format!(
                "key prefix {path:?} has an empty, `.` or `..` segment or a control character"
            )));
        }
        Ok(Self(format!("/{inner}")))
    }

    /// The prefix itself, with a leading and without a trailing `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of a record: `<prefix>/<service>/<node>`.
    #[must_use]
    pub fn key(&self, key: &InstanceKey) -> String {
        let service = segment(key.service.as_str());
        format!("{}/{service}/{}", self.0, segment(key.node.as_str()))
    }

    /// What the keys of a service's records begin with: `<prefix>/<service>/`.
    #[must_use]
    pub fn service(&self, service: &ServiceName) -> String {
        format!("{}/{}/", self.0, segment(service.as_str()))
    }

    /// What the keys of all records begin with: `<prefix>/`.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}/", self.0)
    }

    /// The segments of service and node in a record's key, or nothing if it is no record's key.
    #[must_use]
    pub fn parse<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let (service, node) = key
            .strip_prefix(self.0.as_str())?
            .strip_prefix('/')?
            .split_once('/')?;
        (!service.is_empty() && !node.is_empty() && !node.contains('/')).then_some((service, node))
    }
}

#[cfg(test)]
mod tests {
    use waypost_core::NodeId;

    use super::*;

    fn key(service: &str, node: &str) -> InstanceKey {
        InstanceKey::new(
            ServiceName::foreign(service).expect("name"),
            NodeId::foreign(node).expect("id"),
        )
    }

    #[test]
    fn keys_are_go_micros() {
        let prefix = Prefix::new("/micro/registry").expect("prefix");
        let text = prefix.key(&key("go.micro.server", "go.micro.server-707c"));
        assert_eq!(text, "/micro/registry/go.micro.server/go.micro.server-707c");
        assert_eq!(
            prefix.parse(&text),
            Some(("go.micro.server", "go.micro.server-707c"))
        );
        assert_eq!(
            prefix.key(&key("a/b", "a/b-1")),
            "/micro/registry/a-b/a-b-1"
        );
        assert_eq!(prefix.all(), "/micro/registry/");
        assert_eq!(
            prefix.service(&key("a/b", "x").service),
            "/micro/registry/a-b/"
        );
    }

    #[test]
    fn only_two_segments_below_the_prefix_are_a_record() {
        let prefix = Prefix::new("p").expect("prefix");
        for other in [
            "/p", "/p/", "/p/a", "/p/a/", "/p//a", "/p/a/b/c", "/px/a/b", "/q/a/b",
        ] {
            assert_eq!(prefix.parse(other), None, "{other}");
        }
    }

    #[test]
    fn prefixes_are_checked() {
        for same in ["a/b", "/a/b", "/a/b/"] {
            assert_eq!(Prefix::new(same).expect(same).as_str(), "/a/b");
        }
        for bad in ["", "/", "//", "/a//b", "/a/../b", "/a\n"] {
            assert!(Prefix::new(bad).is_err(), "{bad:?}");
        }
    }
}
