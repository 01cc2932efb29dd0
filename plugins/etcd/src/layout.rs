//! Where records stand: the layout that is written, and the two older ones that are read.

use std::sync::atomic::{AtomicBool, Ordering};

use waypost_core::{Error, InstanceKey, Result, WatchScope};
use waypost_plugin_kit::layout::Prefix;

/// The prefix of go-micro since v1.12.
const PREFIX: &str = "/micro/registry";
/// The prefix of go-micro up to v1.11.
const FIRST_PREFIX: &str = "/micro-registry";

/// Whose layout a record has; where a record stands in several, the lesser one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Layout {
    /// `<prefix>/<service>/<node>`: what this plugin writes.
    Current,
    /// `/micro/registry/<domain>/<service>/<node>` of micro v3.
    Domain,
    /// `/micro-registry/<service>/<node>` of go-micro up to v1.11.
    First,
}

/// The prefixes of a registry.
#[derive(Debug)]
pub(crate) struct Layouts {
    current: Prefix,
    legacy: Option<Legacy>,
    /// The server does not let us read the older layouts.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Legacy {
    domain: Prefix,
    first: Prefix,
}

/// Some keys of one layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) layout: Layout,
    pub(crate) start: String,
    /// The first key after the range, unless it is one key alone.
    pub(crate) end: Option<Vec<u8>>,
}

impl Range {
    fn of(layout: Layout, prefix: &Prefix, scope: &WatchScope) -> Self {
        let prefix = match scope {
            WatchScope::All => prefix.all(),
            WatchScope::Service(name) => prefix.service(name),
        };
        Self {
            layout,
            ..Self::under(prefix)
        }
    }

    /// All keys that begin with `prefix`.
    pub(crate) fn under(prefix: String) -> Self {
        let mut end = prefix.clone().into_bytes();
        // Prefixes are text, whose bytes are never the greatest one.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        Self {
            layout: Layout::Current,
            start: prefix,
            end: Some(end),
        }
    }

    /// One key.
    pub(crate) fn key(key: String) -> Self {
        Self {
            layout: Layout::Current,
            start: key,
            end: None,
        }
    }
}

/// What a key stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// A record, by the segments of its service and node.
    Record(Layout, &'a str, &'a str),
    /// Somebody else's, rightly there.
    Foreign,
    /// No record's key.
    Odd,
}

impl Layouts {
    /// One layout under a prefix of the user's.
    pub(crate) fn under(path: &str) -> Result<Self> {
        Ok(Self::only(Prefix::new(path)?))
    }

    /// One layout under the default prefix.
    pub(crate) fn without_legacy() -> Self {
        Self::only(known(PREFIX))
    }

    /// The default prefix, with what older releases wrote.
    pub(crate) fn with_legacy(domain: &str) -> Result<Self> {
        let fault = || Error::config(format!("domain {domain:?} is no single path segment"));
        if domain.contains('/') {
            return Err(fault());
        }
        let legacy = Legacy {
            domain: Prefix::new(&format!("{PREFIX}/{domain}")).map_err(|_| fault())?,
            first: known(FIRST_PREFIX),
        };
        Ok(Self {
            legacy: Some(legacy),
            ..Self::without_legacy()
        })
    }

    fn only(current: Prefix) -> Self {
        Self {
            current,
            legacy: None,
            refused: AtomicBool::new(false),
        }
    }

    /// The prefix that is written.
    #[cfg(test)]
    pub(crate) fn prefix(&self) -> &str {
        self.current.as_str()
    }

    /// Whether older layouts are read.
    pub(crate) fn reads_legacy(&self) -> bool {
        self.legacy().is_some()
    }

    /// Reads the older layouts no more; tells whether it did until now.
    pub(crate) fn refuse_legacy(&self) -> bool {
        self.legacy.is_some() && !self.refused.swap(true, Ordering::Relaxed)
    }

    fn legacy(&self) -> Option<&Legacy> {
        let refused = self.refused.load(Ordering::Relaxed);
        self.legacy.as_ref().filter(|_| !refused)
    }

    /// Where the records of `scope` stand in the current layout.
    pub(crate) fn current(&self, scope: &WatchScope) -> Range {
        Range::of(Layout::Current, &self.current, scope)
    }

    /// Where the records of `scope` may stand, the current layout first.
    pub(crate) fn ranges(&self, scope: &WatchScope) -> Vec<Range> {
        let mut ranges = vec![self.current(scope)];
        if let Some(legacy) = self.legacy() {
            // All domains lie under the current prefix.
            if *scope != WatchScope::All {
                ranges.push(Range::of(Layout::Domain, &legacy.domain, scope));
            }
            ranges.push(Range::of(Layout::First, &legacy.first, scope));
        }
        ranges
    }

    /// The key that is written, and what the keys of its service begin with.
    pub(crate) fn written(&self, key: &InstanceKey) -> (String, String) {
        (self.current.key(key), self.current.service(&key.service))
    }

    /// Every key that a record may stand under.
    pub(crate) fn keys(&self, key: &InstanceKey) -> Vec<String> {
        let mut keys = vec![self.current.key(key)];
        if let Some(legacy) = self.legacy() {
            keys.extend([legacy.domain.key(key), legacy.first.key(key)]);
        }
        keys
    }

    /// What `key` stands for.
    pub(crate) fn place<'a>(&self, key: &'a str) -> Place<'a> {
        if let Some((service, node)) = self.current.parse(key) {
            return Place::Record(Layout::Current, service, node);
        }
        let Some(legacy) = &self.legacy else {
            return Place::Odd;
        };
        for (layout, prefix) in [
            (Layout::Domain, &legacy.domain),
            (Layout::First, &legacy.first),
        ] {
            if let Some((service, node)) = prefix.parse(key) {
                return match self.legacy() {
                    Some(_) => Place::Record(layout, service, node),
                    None => Place::Foreign,
                };
            }
        }
        // Three segments below the prefix are a record of another domain.
        let parts = key.strip_prefix(self.current.as_str()).map_or(0, |rest| {
            rest.split('/').filter(|part| !part.is_empty()).count()
        });
        if parts == 3 {
            Place::Foreign
        } else {
            Place::Odd
        }
    }
}

/// The prefix of a constant.
fn known(path: &'static str) -> Prefix {
    #[expect(
        clippy::expect_used,
        reason = "both constants have plain segments; tested below"
    )]
    Prefix::new(path).expect("a constant prefix is well formed")
}

#[cfg(test)]
mod tests {
    use waypost_core::{NodeId, ServiceName};

    use super::*;

    fn key(service: &str, node: &str) -> InstanceKey {
        InstanceKey::new(
            ServiceName::foreign(service).expect("name"),
            NodeId::foreign(node).expect("id"),
        )
    }

    #[test]
    fn a_record_is_found_where_each_release_put_it() {
        let layouts = Layouts::with_legacy("micro").expect("layouts");
        let record = key("a/b", "a/b-1");
        assert_eq!(
            layouts.keys(&record),
            [
                "/micro/registry/a-b/a-b-1",
                "/micro/registry/micro/a-b/a-b-1",
                "/micro-registry/a-b/a-b-1",
            ]
        );
        for (place, layout) in
            layouts
                .keys(&record)
                .iter()
                .zip([Layout::Current, Layout::Domain, Layout::First])
        {
            match layouts.place(place) {
                Place::Record(found, service, node) => {
                    assert_eq!(found, layout);
                    assert_eq!((service, node), ("a-b", "a-b-1"));
                }
                other => panic!("{place}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_domains_are_somebody_elses_and_odd_keys_are_odd() {
        let layouts = Layouts::with_legacy("micro").expect("layouts");
        assert_eq!(layouts.place("/micro/registry/other/svc/n"), Place::Foreign);
        for odd in ["/micro/registry/x", "/micro/registry/a/b/c/d", "/else/a/b"] {
            assert_eq!(layouts.place(odd), Place::Odd, "{odd}");
        }
        let plain = Layouts::under("/p").expect("layouts");
        assert_eq!(plain.place("/p/d/svc/n"), Place::Odd);
    }

    #[test]
    fn one_range_a_layout_and_domains_lie_under_the_prefix() {
        let layouts = Layouts::with_legacy("micro").expect("layouts");
        let scope = WatchScope::Service(ServiceName::new("s").expect("name"));
        let prefixes = |scope| -> Vec<String> {
            layouts
                .ranges(scope)
                .into_iter()
                .map(|range| range.start)
                .collect()
        };
        assert_eq!(
            prefixes(&scope),
            [
                "/micro/registry/s/",
                "/micro/registry/micro/s/",
                "/micro-registry/s/"
            ]
        );
        assert_eq!(
            prefixes(&WatchScope::All),
            ["/micro/registry/", "/micro-registry/"]
        );
        assert_eq!(Range::under("/a/".to_owned()).end, Some(b"/a0".to_vec()));
        assert!(layouts.refuse_legacy() && !layouts.refuse_legacy());
        assert_eq!(prefixes(&scope), ["/micro/registry/s/"]);
    }
}
