//! What can go wrong here, and the one mapping of the system's errors.

use std::io;
use std::path::Path;
use std::time::Duration;

use waypost_core::{Error, ErrorKind, InstanceKey};

use crate::config::PROFILE;

/// An error of the system about `path`.
pub(crate) fn system(doing: &str, path: &Path, cause: io::Error) -> Error {
    let advice = match cause.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "; name a directory that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; there is no space left",
        _ => "",
    };
    let message = format!("cannot {doing} {}{advice}", path.display());
    Error::new(kind(cause.kind()), message).with_source(cause)
}

fn kind(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => ErrorKind::Config,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    }
}

pub(crate) fn no_boot_id(path: &str) -> Error {
    let message = format!("{path} names no boot; this registry needs Linux's boot id");
    Error::new(ErrorKind::Unsupported, message).with_driver(PROFILE.driver)
}

pub(crate) fn not_trusted(path: &Path, why: &str) -> Error {
    let path = path.display();
    Error::new(
        ErrorKind::Denied,
        format!("{path} {why}; name another directory as the registry's address"),
    )
}

pub(crate) fn not_a_directory(path: &Path) -> Error {
    Error::unavailable(format!("{} is not a directory", path.display()))
}

pub(crate) fn several_addresses() -> Error {
    Error::config("several addresses are given; this registry is one directory")
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

/// The blocking work was cut short: the runtime is shutting down.
pub(crate) fn cut_short() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_have_their_kind_and_name_the_path() {
        for (cause, expected) in [
            (io::ErrorKind::PermissionDenied, ErrorKind::Denied),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::Denied),
            (io::ErrorKind::StorageFull, ErrorKind::Unavailable),
            (io::ErrorKind::NotFound, ErrorKind::Unavailable),
            (io::ErrorKind::InvalidFilename, ErrorKind::Config),
        ] {
            let error = system("write", Path::new("/a/b"), cause.into());
            assert_eq!(error.kind(), expected);
            assert!(error.to_string().contains("cannot write /a/b"), "{error}");
        }
    }
}
