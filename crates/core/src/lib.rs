//! The vocabulary and the contract of Waypost.
//!
//! A [`Registry`] keeps a record for every live node of every service. A service registers
//! through a [`Registration`], which renews its [`Lease`] until told to stop; a caller reads a
//! [`Directory`], which follows the registry's watch and never goes empty because the registry
//! went away. Plugins implement [`Registry`], [`Lease`] and [`Watcher`] for one backend each and
//! describe themselves with a [`Driver`].
//!
//! Nothing here knows a backend.

mod clock;
mod deadline;
mod directory;
mod driver;
mod error;
mod ext;
#[cfg(test)]
mod fake;
mod model;
mod name;
mod registration;
mod registry;
mod route;
mod secret;
mod skip;
mod target;

pub use deadline::Deadlines;
pub use directory::{Directory, DirectoryOptions, Drift, Followed, Freshness, Members};
pub use driver::{ConnectFuture, Driver, OptionSpec};
pub use error::{Error, ErrorKind, Result};
pub use ext::RegistryExt;
pub use model::{Address, Endpoint, Instance, InstanceKey, Metadata, Node, Service, Value};
pub use name::{NodeId, ServiceName};
pub use registration::{Registration, RegistrationOptions, Standing, State};
pub use registry::{
    BoxWatcher, Change, Event, Lease, Profile, RegisterOptions, Registry, WatchScope, Watcher,
};
pub use route::{host_port, route_to};
pub use secret::Secret;
pub use skip::{SkipLog, Skipped};
pub use target::{Origin, Target};
