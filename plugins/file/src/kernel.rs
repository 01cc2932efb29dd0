//! The kernel's own hints: inotify.
//!
//! It is asked for names that come and go, and not for writes: a renewal writes in place and wakes
//! nobody.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Something that the kernel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint<'a> {
    /// A name in a directory came or went; an empty one means the directory itself.
    Changed(i32, &'a str),
    /// A directory is listened to no more.
    Ended(i32),
    /// Some hints were lost.
    Lost,
}

/// Whether a directory is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Yes, and this is how hints name it.
    As(i32),
    /// It is not there.
    Missing,
    /// The kernel does not want to.
    No,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    inotify: OwnedFd,
    /// Readable once reading has to end.
    end: OwnedFd,
}

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Listens to a directory, as often as one likes.
    pub(crate) fn listen(&self, path: &Path) -> Heard {
        let wanted = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, path, wanted) {
            Ok(descriptor) => Heard::As(descriptor),
            Err(Errno::NOENT) => Heard::Missing,
            Err(_) => Heard::No,
        }
    }

    /// Reads hints until [`Kernel::end`] is called; blocks.
    pub(crate) fn read(&self, mut tell: impl FnMut(Hint<'_>)) -> io::Result<()> {
        loop {
            let mut ready = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(&self.end, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) if ready[1].revents().is_empty() => self.drain(&mut tell)?,
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Ends [`Kernel::read`].
    pub(crate) fn end(&self) {
        // Cannot fail: the counter is far from full.
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }

    fn drain(&self, tell: &mut impl FnMut(Hint<'_>)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let name = event
                .file_name()
                .map_or("", |name| name.to_str().unwrap_or(""));
            tell(if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                Hint::Lost
            } else if event.events().contains(ReadFlags::IGNORED) {
                Hint::Ended(event.wd())
            } else {
                Hint::Changed(event.wd(), name)
            });
        }
    }
}
