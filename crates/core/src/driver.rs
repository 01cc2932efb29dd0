//! A plugin's description of itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Profile, Registry, Result, Target};

/// What [`Driver::connect`] returns.
pub type ConnectFuture = Pin<Box<dyn Future<Output = Result<Arc<dyn Registry>>> + Send>>;

/// One row of the driver table: everything the house knows of a plugin before it connects.
///
/// Connecting checks the target, reads files that it names, and does no network I/O that could
/// fail: a process must be able to start while its registry is down.
#[derive(Clone, Copy)]
pub struct Driver {
    /// The flag value, URL scheme, cargo feature and folder.
    pub name: &'static str,
    /// One line for help texts.
    pub summary: &'static str,
    /// Port of an address that names none; `None` where addresses have no port.
    pub default_port: Option<u16>,
    /// What a missing address means, for help texts: `127.0.0.1:2379`, a directory, …
    pub default_address: &'static str,
    /// Facts about the backend.
    pub profile: Profile,
    /// The options that its URL takes.
    pub options: &'static [OptionSpec],
    /// Makes a registry from a target.
    pub connect: fn(Target) -> ConnectFuture,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One option of a driver: the one source for its reader, help text and documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key in the URL's query.
    pub key: &'static str,
    /// What a value looks like: `DURATION`, `PATH`, `true|false`, …
    pub value: &'static str,
    /// The value when it is not given; empty for none.
    pub default: &'static str,
    /// One line of explanation.
    pub help: &'static str,
}
