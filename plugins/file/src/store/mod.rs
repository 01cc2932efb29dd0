//! The directory and what stands in it. Everything here blocks, and nothing here keeps time: each
//! call looks at the clock once.

mod place;
mod read;
mod reap;
mod record;
mod write;

use std::path::PathBuf;

use waypost_core::{InstanceKey, Result, SkipLog};

use crate::clock::Boot;
use crate::name;

pub(crate) use place::Place;

use read::Cache;

/// One directory of records.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    boot: Boot,
    skipped: SkipLog,
    cache: Cache,
}

impl Store {
    pub(crate) fn new(place: Place, skipped: SkipLog) -> Result<Self> {
        Ok(Self {
            place,
            boot: Boot::current()?,
            skipped,
            cache: Cache::default(),
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// Where a record stands: the directory of its service, and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) service: String,
    pub(crate) file: String,
}

impl Spot {
    pub(crate) fn new(key: &InstanceKey) -> Self {
        Self {
            service: name::directory(&key.service),
            file: name::file(&key.node),
        }
    }

    fn path(&self, place: &Place) -> PathBuf {
        place.service(&self.service).join(&self.file)
    }
}

#[cfg(test)]
mod tests;
