//! Names of services and nodes, checked once, when they enter.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// Longest name of a service, in bytes.
pub(crate) const MAX_SERVICE_NAME: usize = 128;
/// Longest node id, in bytes.
pub(crate) const MAX_NODE_ID: usize = 256;
/// Most characters of a text that an error shows.
const MAX_SHOWN: usize = 128;

/// The name of a service.
///
/// [`ServiceName::new`] takes what a new service may be called: 1 to 128 bytes of ASCII letters,
/// digits, `.`, `_` and `-`, beginning with a letter, a digit or `_`, without `..`.
/// [`ServiceName::foreign`] takes what another writer may have put into a shared registry, as
/// go-micro's older releases did (`topic:news`, `a/b`): anything printable that cannot be mistaken
/// for a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// A name that a service may register under.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the name and the rule it breaks.
    pub fn new(name: &str) -> Result<Self> {
        match strict_fault(name) {
            None => Ok(Self(name.into())),
            Some(rule) => Err(Error::config(format!(
                "service name {} {rule}",
                shown(name)
            ))),
        }
    }

    /// A name found in a registry, or looked up there.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the name and the rule it breaks.
    pub fn foreign(name: &str) -> Result<Self> {
        match foreign_fault(name, MAX_SERVICE_NAME) {
            None => Ok(Self(name.into())),
            Some(rule) => Err(Error::config(format!(
                "service name {} {rule}",
                shown(name)
            ))),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a new service could be called this (see [`ServiceName::new`]).
    #[must_use]
    pub fn is_strict(&self) -> bool {
        strict_fault(&self.0).is_none()
    }
}

/// The id of one node, unique within its service.
///
/// [`NodeId::new`] takes 1 to 256 bytes of visible ASCII without `/` and `\`; `.` and `..` are
/// refused. go-micro writes `<service>-<uuid>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// An id that a node may register under.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the id and the rule it breaks.
    pub fn new(id: &str) -> Result<Self> {
        let fault = foreign_fault(id, MAX_NODE_ID).or_else(|| {
            if id.bytes().any(|byte| !byte.is_ascii_graphic()) {
                Some("contains a character that is not visible ASCII".to_owned())
            } else if id.contains(['/', '\\']) {
                Some("contains `/` or `\\`".to_owned())
            } else {
                None
            }
        });
        match fault {
            None => Ok(Self(id.into())),
            Some(rule) => Err(Error::config(format!("node id {} {rule}", shown(id)))),
        }
    }

    /// An id found in a registry.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the id and the rule it breaks.
    pub fn foreign(id: &str) -> Result<Self> {
        match foreign_fault(id, MAX_NODE_ID) {
            None => Ok(Self(id.into())),
            Some(rule) => Err(Error::config(format!("node id {} {rule}", shown(id)))),
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` as an error shows it: quoted, and no more of it than a line. What a registry holds may be
/// as long as a record.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

fn strict_fault(name: &str) -> Option<String> {
    if let Some(fault) = foreign_fault(name, MAX_SERVICE_NAME) {
        return Some(fault);
    }
    if let Some(odd) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Some(format!(
            "contains {odd:?}; letters, digits, `.`, `_` and `-` are allowed"
        ));
    }
    if name.starts_with(['.', '-']) {
        return Some("begins with `.` or `-`".to_owned());
    }
    if name.contains("..") {
        return Some("contains `..`".to_owned());
    }
    None
}

fn foreign_fault(name: &str, most: usize) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > most {
        return Some(format!(
            "is {} bytes long; at most {most} are allowed",
            name.len()
        ));
    }
    if let Some(odd) = name.chars().find(|c| c.is_control()) {
        return Some(format!("contains the control character {odd:?}"));
    }
    if name.trim() != name {
        return Some("begins or ends with white space".to_owned());
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("contains an empty, `.` or `..` path segment".to_owned());
    }
    None
}

macro_rules! name_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::foreign(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_traits!(ServiceName);
name_traits!(NodeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_service_names_follow_the_rule() {
        for good in ["orders", "go.micro.srv.greeter", "a", "A_b-c.9", "_x"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a..b",
            "/",
            "a%2Fb",
            ".x",
            "-x",
            "ünï",
            "a b",
            "x ",
            "a\r\nX: y",
            "nul\0",
            "topic:x",
            &long,
        ] {
            let error = ServiceName::new(bad).expect_err(bad).to_string();
            assert!(error.starts_with("service name "), "{error}");
            assert!(!error.contains(['\r', '\n', '\0']), "{error:?} is one line");
        }
    }

    #[test]
    fn an_error_shows_no_more_than_a_line_of_a_name() {
        let long = "ä\n".repeat(100_000);
        for error in [
            ServiceName::new(&long).expect_err("long"),
            ServiceName::foreign(&long).expect_err("long"),
            NodeId::new(&long).expect_err("long"),
            NodeId::foreign(&long).expect_err("long"),
        ] {
            let text = error.to_string();
            assert!(text.len() < 500 && !text.contains('\n'), "{text}");
        }
        let whole = "x".repeat(MAX_SHOWN);
        assert_eq!(shown(&whole), format!("{whole:?}"));
    }

    #[test]
    fn foreign_names_may_be_odd_but_never_a_path_trick() {
        for good in ["a/b", "topic:news", "ünï"] {
            assert!(ServiceName::foreign(good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/../b", "/a", "a/", "a//b", "a\nb", " a"] {
            assert!(ServiceName::foreign(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn node_ids_follow_the_rule() {
        assert!(NodeId::new("orders-707c1d61-2c20-42b4-95a0-6d3e8473727e").is_ok());
        let long = "x".repeat(257);
        for bad in ["", ".", "..", "a/b", "a\\b", "a b", "ü", "a\tb", &long] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
    }
}
