//! One file, opened without being led astray.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use waypost_core::Instance;
use waypost_plugin_kit::codec;

use super::Spot;
use crate::head::{self, Fault, Head};
use crate::name;

/// How often to look again at a head that somebody is writing: a write takes well under a
/// microsecond.
const LOOKS: usize = 1000;

/// Why a file gave no record.
#[derive(Debug)]
pub(super) enum Miss {
    /// There is none.
    Gone,
    /// There is something else, by this reason.
    Junk(String),
    /// The system could not tell.
    Failed(std::io::Error),
}

/// A file with a record's head.
pub(super) struct Record {
    pub(super) head: Head,
    pub(super) length: u64,
    pub(super) inode: u64,
    file: File,
}

impl Record {
    /// Opens a regular file and nothing else: no link is followed, and a pipe does not block.
    pub(super) fn open(path: &Path, write: bool) -> Result<Self, Miss> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file: File = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT) => return Err(Miss::Gone),
            Err(Errno::LOOP) => return Err(junk("is a symbolic link")),
            Err(Errno::ISDIR) => return Err(junk("is a directory")),
            Err(Errno::NXIO | Errno::NODEV) => return Err(junk("is no regular file")),
            Err(errno) => return Err(Miss::Failed(errno.into())),
        };
        let found = file.metadata().map_err(Miss::Failed)?;
        if !found.is_file() {
            return Err(junk("is no regular file"));
        }
        if found.len() == 0 {
            return Err(junk("is empty"));
        }
        Ok(Self {
            head: read_head(&file)?,
            length: found.len(),
            inode: found.ino(),
            file,
        })
    }

    /// Reads the record itself, which has to be the one of its place.
    pub(super) fn instance(&self, spot: &Spot) -> Result<Arc<Instance>, Miss> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        if length > head::LENGTH + codec::MAX_RECORD {
            return Err(junk(&format!("has {length} bytes, which is too many")));
        }
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, 0)
            .map_err(Miss::Failed)?;
        let mut all = codec::decode(head::strip(&mut bytes)).map_err(Miss::Junk)?;
        let (Some(instance), true) = (all.pop(), all.is_empty()) else {
            return Err(Miss::Junk(
                "the record does not have exactly one node".to_owned(),
            ));
        };
        let directory = name::directory(&instance.service);
        let file = name::file(&instance.node.id);
        if (&directory, &file) != (&spot.service, &spot.file) {
            return Err(Miss::Junk(format!(
                "the record belongs under {directory}/{file}, not here"
            )));
        }
        Ok(Arc::new(instance))
    }

    /// Writes a new deadline over the old one.
    pub(super) fn set_deadline(&self, deadline: u64) -> std::io::Result<()> {
        let text = head::deadline(deadline);
        self.file.write_all_at(text.as_bytes(), head::DEADLINE_AT)
    }
}

fn read_head(file: &File) -> Result<Head, Miss> {
    let mut bytes = [0; head::LENGTH];
    for _ in 0..LOOKS {
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(short) if short.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(cause) => return Err(Miss::Failed(cause)),
        }
        match Head::parse(&bytes) {
            Ok(head) => return Ok(head),
            Err(Fault::Foreign) => break,
            Err(Fault::Torn) => std::hint::spin_loop(),
        }
    }
    Err(junk(
        "does not begin with a lease, as what this registry writes does",
    ))
}

fn junk(reason: &str) -> Miss {
    Miss::Junk(format!("the file {reason}"))
}
