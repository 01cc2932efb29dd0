//! The recorded history: JSON lines with the times of one clock.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

use super::record::{Entry, What};

/// Microseconds of the machine's monotonic clock, which all processes share.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}

/// Writes the history to a file while it happens.
#[derive(Debug)]
pub struct Tape {
    path: PathBuf,
    file: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    file: BufWriter<File>,
    error: Option<std::io::Error>,
}

impl Tape {
    /// A new file at `path`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(Written {
                file: BufWriter::new(File::create(path)?),
                error: None,
            }),
        })
    }

    /// Adds what happens at this moment.
    pub fn record(&self, who: &str, what: What) {
        self.record_at(now(), who, what);
    }

    /// Adds what happened at `at`. A line that cannot be written fails [`Tape::read`].
    pub fn record_at(&self, at: u64, who: &str, what: What) {
        let entry = Entry {
            at,
            who: who.to_owned(),
            what,
        };
        let line = serde_json::to_string(&entry).map_err(std::io::Error::from);
        let mut written = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let done = line.and_then(|line| writeln!(written.file, "{line}"));
        if let Err(error) = done {
            written.error.get_or_insert(error);
        }
    }

    /// The whole history so far, in the order of its times.
    ///
    /// # Errors
    /// When a line could not be written or cannot be read.
    pub fn read(&self) -> Result<Vec<Entry>> {
        let mut written = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = written.error.take() {
            return Err(error.into());
        }
        written.file.flush()?;
        read(&self.path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a history that was written before, in the order of its times.
///
/// # Errors
/// When there is none or a line cannot be read.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        entries.push(serde_json::from_str::<Entry>(&line?)?);
    }
    // Writers' lines come through a pipe, later than they were stamped.
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Stamp, Stamps, Told};
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again_in_the_order_of_its_times() {
        let folder = tempfile::tempdir().expect("folder");
        let tape = Tape::create(&folder.path().join("deep/history.jsonl")).expect("tape");
        let stamp = Stamp::from((u64::MAX - 1, 2, 3));
        let late = What::Looked {
            asked: 6,
            set: Stamps::from([("a1".to_owned(), stamp)]),
            doubled: false,
        };
        let early = What::Changed {
            changes: vec![Told {
                service: "s".to_owned(),
                node: "a1".to_owned(),
                stamp: None,
            }],
        };
        tape.record_at(7, "lookup", late.clone());
        tape.record_at(5, "watch-1", early.clone());
        let read = tape.read().expect("read");
        let whats: Vec<_> = read.iter().map(|entry| (entry.at, &entry.what)).collect();
        assert_eq!(whats, [(5, &early), (7, &late)]);
    }
}
