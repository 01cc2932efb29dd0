//! What can go wrong here.

use std::fmt;
use std::io;
use std::path::Path;

use waypost_core::{Error, ErrorKind};

use crate::config::PROFILE;

pub(crate) fn read_only() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this registry is a fixed list, in which nobody registers; change the list itself",
    )
    .with_driver(PROFILE.driver)
}

pub(crate) fn nothing_given() -> Error {
    Error::config(
        "no list is given; write it as the address (`orders=10.0.0.1:80,users=10.0.0.2:80`) \
         or name a JSON file with the option `file`",
    )
}

pub(crate) fn both_given() -> Error {
    Error::config("a list and a file are given; use one")
}

pub(crate) fn no_path_or_user() -> Error {
    Error::config("this registry has no path, no user and no TLS; its address is the list")
}

/// An entry of the list that breaks a rule.
pub(crate) fn entry(text: &str, rule: impl fmt::Display) -> Error {
    Error::config(format!(
        "entry {text:?} {rule}; SERVICE[:VERSION]=HOST:PORT[+KEY=VALUE]… is needed"
    ))
}

/// An entry whose name or address breaks a rule that the error tells.
pub(crate) fn part(text: &str, rule: &Error) -> Error {
    Error::config(format!("entry {text:?}: {rule}"))
}

/// The file cannot be read now.
pub(crate) fn unread(path: &Path, cause: io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot read {}", path.display())).with_source(cause)
}

/// The file as a whole makes no sense.
pub(crate) fn corrupt(path: &Path, rule: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} {rule}", path.display()))
}

/// The blocking work was cut short: the runtime is shutting down.
pub(crate) fn cut_short() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_file_have_their_kind_and_name_the_path() {
        for (cause, expected) in [
            (io::ErrorKind::PermissionDenied, ErrorKind::Denied),
            (io::ErrorKind::NotFound, ErrorKind::Unavailable),
            (io::ErrorKind::Other, ErrorKind::Unavailable),
        ] {
            let error = unread(Path::new("/a.json"), cause.into());
            assert_eq!(error.kind(), expected);
            assert_eq!(error.to_string(), "cannot read /a.json");
        }
    }
}
