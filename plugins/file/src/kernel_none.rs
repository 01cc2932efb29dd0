//! Where the kernel gives no hints that we know how to read.

use std::io;
use std::path::Path;

pub(crate) enum Hint<'a> {
    Changed(i32, &'a str),
    Ended(i32),
    Lost,
}

pub(crate) enum Heard {
    As(i32),
    Missing,
    No,
}

/// Cannot be had.
#[derive(Debug)]
pub(crate) enum Kernel {}

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn listen(&self, _path: &Path) -> Heard {
        match *self {}
    }

    pub(crate) fn read(&self, _tell: impl FnMut(Hint<'_>)) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn end(&self) {
        match *self {}
    }
}
