//! What can go wrong here.

use std::time::Duration;

use waypost_core::{Error, ErrorKind, InstanceKey};

use crate::config::PROFILE;

pub(crate) fn no_address() -> Error {
    Error::config("the registry in memory has no address and no path").with_driver(PROFILE.driver)
}

pub(crate) fn short_ttl(ttl: Duration) -> Error {
    let least = PROFILE.least_ttl;
    Error::config(format!(
        "a ttl of {ttl:?} is too short; at least {least:?} is needed"
    ))
}

pub(crate) fn other_key(found: &InstanceKey) -> Error {
    Error::config(format!("the new content belongs to {found}"))
}

pub(crate) fn lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the record has expired, or was removed or replaced",
    )
}
