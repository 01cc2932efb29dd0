//! go-micro's metadata: headers that are handed on from call to call, if asked for.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Most entries that are handed on.
const MOST: usize = 64;
/// Most bytes of a key.
const MOST_KEY: usize = 128;
/// Most bytes of a value.
const MOST_VALUE: usize = 4096;

/// Headers of one hop, of one message, or with a meaning of their own to whoever gets them.
const RESERVED: &[&str] = &[
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "via",
    "forwarded",
    "timeout",
    "x-attempt",
    "traceparent",
    "tracestate",
    "x-content-type",
    "accept",
    "accept-encoding",
    "range",
    "date",
    "age",
    "vary",
    "http2-settings",
];
const RESERVED_PREFIXES: &[&str] = &[
    "content-",
    "micro-",
    "x-micro-",
    "grpc-",
    "proxy-",
    "if-",
    "x-forwarded-",
];

/// Which rule of metadata is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetadataRule {
    /// The key is no header's name, or over 128 bytes.
    Key,
    /// The key has a meaning of its own on the wire.
    Reserved,
    /// The value has control characters.
    Value,
    /// The value is over 4096 bytes.
    TooLong,
    /// There are 64 entries already.
    TooMany,
}

impl fmt::Display for MetadataRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a key must be a header's name of at most 128 bytes",
            Self::Reserved => "this key is the protocol's own",
            Self::Value => "a value must not have control characters",
            Self::TooLong => "a value must have at most 4096 bytes",
            Self::TooMany => "there must be at most 64 entries",
        })
    }
}

/// Metadata that cannot be a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidMetadata {
    key: String,
    rule: MetadataRule,
}

impl InvalidMetadata {
    fn new(key: &str, rule: MetadataRule) -> Self {
        let shown: String = key.escape_default().take(64).collect();
        Self { key: shown, rule }
    }

    /// The key, escaped and cut. The value may be a secret and is not kept.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The rule that is broken.
    #[must_use]
    pub fn rule(&self) -> MetadataRule {
        self.rule
    }
}

impl fmt::Display for InvalidMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata \"{}\": {}", self.key, self.rule)
    }
}

impl std::error::Error for InvalidMetadata {}

/// Which headers of an incoming call are handed on.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Forward {
    /// None. The default.
    #[default]
    Nothing,
    /// These, made by [`only`](Self::only).
    Only(Arc<[HeaderName]>),
    /// All that are not the protocol's own, as go-micro does; never `authorization` nor `cookie`,
    /// which must be [named](Self::only).
    All,
}

impl Forward {
    /// Hands on the headers of these names.
    ///
    /// # Errors
    ///
    /// [`InvalidMetadata`] for what is no name, or a name of the protocol's own.
    pub fn only<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidMetadata> {
        let names: Result<Vec<_>, _> = names.into_iter().map(name).collect();
        Ok(Self::Only(names?.into()))
    }
}

/// Headers that are handed on from call to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(HeaderName, HeaderValue)>);

impl Metadata {
    /// Takes what `forward` says from a request. What breaks a rule is left out and logged by key.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, forward: &Forward) -> Self {
        let mut metadata = Self::default();
        let mut take = |name: &HeaderName, value: &HeaderValue| {
            let taken = metadata.push(name.clone(), value.clone());
            if let Err(rule) = taken {
                let bad = InvalidMetadata::new(name.as_str(), rule);
                tracing::debug!(%bad, "metadata is not handed on");
            }
        };
        match forward {
            Forward::Nothing => {}
            Forward::Only(names) => {
                for name in names.iter() {
                    headers
                        .get_all(name)
                        .iter()
                        .for_each(|value| take(name, value));
                }
            }
            Forward::All => {
                let hop = of_the_hop(headers);
                for (name, value) in headers {
                    let is_secret = name == header::AUTHORIZATION || name == header::COOKIE;
                    if !is_secret && !is_reserved(name.as_str()) && !hop.contains(name) {
                        take(name, value);
                    }
                }
            }
        }
        metadata
    }

    /// Adds an entry.
    ///
    /// ```
    /// use waypost_resilience::Metadata;
    ///
    /// let mut metadata = Metadata::default();
    /// metadata.insert("x-tenant", "blue").unwrap();
    /// let error = metadata.insert("Host", "evil").unwrap_err();
    /// assert_eq!(error.to_string(), "metadata \"Host\": this key is the protocol's own");
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidMetadata`] for what breaks a [`MetadataRule`]; nothing is added then.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), InvalidMetadata> {
        let bad = |rule| InvalidMetadata::new(key, rule);
        let name = name(key)?;
        let value = HeaderValue::from_str(value).map_err(|_| bad(MetadataRule::Value))?;
        self.push(name, value).map_err(bad)
    }

    fn push(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), MetadataRule> {
        if name.as_str().len() > MOST_KEY {
            return Err(MetadataRule::Key);
        }
        if value.as_bytes().iter().any(u8::is_ascii_control) {
            return Err(MetadataRule::Value);
        }
        if value.len() > MOST_VALUE {
            return Err(MetadataRule::TooLong);
        }
        if self.0.len() >= MOST {
            return Err(MetadataRule::TooMany);
        }
        self.0.push((name, value));
        Ok(())
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the entries whose name the request does not have itself.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        let own = |(name, _): &&(HeaderName, HeaderValue)| !headers.contains_key(name);
        let missing: Vec<_> = self.0.iter().filter(own).collect();
        for (name, value) in missing {
            headers.append(name, value.clone());
        }
    }
}

fn name(key: &str) -> Result<HeaderName, InvalidMetadata> {
    let bad = |rule| InvalidMetadata::new(key, rule);
    if key.len() > MOST_KEY {
        return Err(bad(MetadataRule::Key));
    }
    let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| bad(MetadataRule::Key))?;
    if is_reserved(name.as_str()) {
        return Err(bad(MetadataRule::Reserved));
    }
    Ok(name)
}

/// A header's name is lower case already.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The names that `Connection` says are of this hop only.
fn of_the_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(header::CONNECTION).iter();
    let names = lists.filter_map(|list| list.to_str().ok());
    let names = names.flat_map(|list| list.split(','));
    names.filter_map(|name| name.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_metadata_is_named() {
        let long = "x".repeat(MOST_VALUE + 1);
        let key = "k".repeat(MOST_KEY + 1);
        for (key, value, rule) in [
            ("Host", "a", MetadataRule::Reserved),
            ("Content-Length", "1", MetadataRule::Reserved),
            ("Transfer-Encoding", "chunked", MetadataRule::Reserved),
            ("Micro-From-Service", "a", MetadataRule::Reserved),
            ("grpc-status", "0", MetadataRule::Reserved),
            (":path", "/", MetadataRule::Key),
            ("a b", "a", MetadataRule::Key),
            ("", "a", MetadataRule::Key),
            (key.as_str(), "a", MetadataRule::Key),
            ("x-a", "a\r\nx: y", MetadataRule::Value),
            ("x-a", "a\0", MetadataRule::Value),
            ("x-a", "a\tb", MetadataRule::Value),
            ("x-a", long.as_str(), MetadataRule::TooLong),
        ] {
            let mut metadata = Metadata::default();
            let error = metadata.insert(key, value).expect_err(key);
            assert_eq!(error.rule(), rule, "{error}");
            assert!(metadata.is_empty(), "{key}");
        }
        let mut metadata = Metadata::default();
        for number in 0..MOST {
            metadata.insert(&format!("x-{number}"), "1").expect("room");
        }
        let error = metadata.insert("x-more", "1").expect_err("full");
        assert_eq!(error.rule(), MetadataRule::TooMany);
    }

    #[test]
    fn only_what_is_asked_for_is_handed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "a"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("authorization", "secret"),
            ("cookie", "secret"),
            ("content-type", "text/plain"),
            ("micro-topic", "t"),
            ("timeout", "5"),
            ("x-tenant", "blue"),
            ("x-user", "ann"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let taken = |forward: &Forward| -> Vec<String> {
            let metadata = Metadata::from_headers(&headers, forward);
            let mut names: Vec<_> = metadata.iter().map(|(name, _)| name.to_string()).collect();
            names.sort();
            names
        };
        assert!(taken(&Forward::Nothing).is_empty());
        assert_eq!(taken(&Forward::All), ["x-tenant", "x-user"]);
        let only = Forward::only(["x-tenant", "authorization"]).expect("names");
        assert_eq!(taken(&only), ["authorization", "x-tenant"]);
        assert!(Forward::only(["host"]).is_err());
        let metadata = Metadata::from_headers(&headers, &Forward::All);
        let mut outgoing = HeaderMap::new();
        outgoing.insert("x-user", "bob".parse().expect("a value"));
        metadata.write_to(&mut outgoing);
        assert_eq!(
            (&outgoing["x-user"], &outgoing["x-tenant"]),
            (&"bob".parse().unwrap(), &"blue".parse().unwrap())
        );
    }
}
