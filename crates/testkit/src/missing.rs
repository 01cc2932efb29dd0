//! Why a test cannot run here.

use std::fmt;

use waypost_core::ErrorKind;

/// Says what must be had: `WAYPOST_REQUIRE=docker,python`.
const REQUIRE: &str = "WAYPOST_REQUIRE";

/// Why something that a test needs cannot be had: no Docker, no image, no address, no Python.
#[derive(Debug, Clone)]
pub struct Missing {
    reason: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What `WAYPOST_REQUIRE` calls it.
    Named(&'static str),
    /// Nobody asked for it.
    Optional,
    /// A fault of the test's own, which is never passed over.
    Fault,
}

impl Missing {
    /// A backend that cannot be had, for this reason (one line, lower case).
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self::of("docker", reason)
    }

    /// Something else that cannot be had, by the name that `WAYPOST_REQUIRE` gives it.
    #[must_use]
    pub fn of(kind: &'static str, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            kind: Kind::Named(kind),
        }
    }

    /// A test that takes long, and how to ask for it; never a failure.
    #[must_use]
    pub fn not_asked_for(how: impl Into<String>) -> Self {
        Self {
            reason: how.into(),
            kind: Kind::Optional,
        }
    }

    /// Whether this has to be a failure: `WAYPOST_REQUIRE` names what is missing, or the test itself
    /// is at fault.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        let required = std::env::var(REQUIRE).unwrap_or_default();
        match self.kind {
            Kind::Named(kind) => required.split(',').any(|each| each.trim() == kind),
            Kind::Optional => false,
            Kind::Fault => true,
        }
    }
}

impl Missing {
    /// Why it is a failure.
    pub(crate) fn complaint(&self) -> String {
        match self.kind {
            Kind::Fault => self.reason.clone(),
            _ => format!("{} ({REQUIRE} asks for it)", self.reason),
        }
    }
}

impl From<waypost_core::Error> for Missing {
    /// What a server or Docker says is missing; what is wrong or impossible is a fault.
    fn from(error: waypost_core::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Internal => Kind::Fault,
            _ => Kind::Named("docker"),
        };
        Self {
            reason: error.chain(),
            kind,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Missing {}
