//! What a history is made of: who did or saw what, and when.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize};
use waypost_core::{Change, Event, Instance, InstanceKey};

use crate::agent::Act;
use crate::observe::Set;

use super::mishap::Mishap;

/// Metadata key of the moment at which a writer's process began.
pub(crate) const BORN: &str = "born";
/// Metadata key of the number of a writer's update.
pub(crate) const TURN: &str = "turn";

/// Which content a record has. Later content is greater: writers number what they write, and a
/// process that takes an id over was born later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u32)", into = "(u64, u64, u32)")]
pub struct Stamp {
    /// When the writer's process began.
    pub born: u64,
    /// Which of its updates this is.
    pub turn: u64,
    /// A hash of the whole record.
    pub hash: u32,
}

impl From<(u64, u64, u32)> for Stamp {
    fn from((born, turn, hash): (u64, u64, u32)) -> Self {
        Self { born, turn, hash }
    }
}

impl From<Stamp> for (u64, u64, u32) {
    fn from(stamp: Stamp) -> Self {
        (stamp.born, stamp.turn, stamp.hash)
    }
}

impl From<&Instance> for Stamp {
    fn from(instance: &Instance) -> Self {
        let number = |key| {
            let text = instance.node.metadata.get(key);
            text.and_then(|text: &String| text.parse().ok())
                .unwrap_or(0)
        };
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        Self {
            born: number(BORN),
            turn: number(TURN),
            hash: (hasher.finish() >> 32) as u32,
        }
    }
}

/// One record as a watch told it; without a stamp it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The service that it names.
    pub service: String,
    /// The node.
    pub node: String,
    /// The content, unless it is gone.
    pub stamp: Option<Stamp>,
}

impl From<&Instance> for Told {
    fn from(instance: &Instance) -> Self {
        Self {
            service: instance.service.to_string(),
            node: instance.node.id.to_string(),
            stamp: Some(instance.into()),
        }
    }
}

impl From<&InstanceKey> for Told {
    fn from(key: &InstanceKey) -> Self {
        Self {
            service: key.service.to_string(),
            node: key.node.to_string(),
            stamp: None,
        }
    }
}

/// Nodes and what their records hold.
pub type Stamps = BTreeMap<String, Stamp>;

/// The stamps of a set.
#[must_use]
pub fn stamps(set: &Set) -> Stamps {
    let stamp = |(id, instance): (&waypost_core::NodeId, &std::sync::Arc<Instance>)| {
        (id.to_string(), Stamp::from(&**instance))
    };
    set.iter().map(stamp).collect()
}

/// Something that happened, was done or was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The run begins: the server, and what the bounds are made of, in microseconds.
    Began {
        /// Name of the server's driver.
        server: String,
        /// What the schedule is drawn from.
        seed: u64,
        /// The ttl of the records.
        ttl: u64,
        /// How much later than the ttl the server may remove a record.
        slack: u64,
        /// Whether a server that is restarted with its data takes no record away.
        keeps: bool,
    },
    /// A mishap begins.
    Mishap {
        /// The round it belongs to.
        round: usize,
        /// Its place in the round.
        place: usize,
        /// What it is.
        mishap: Mishap,
    },
    /// What made it a mishap is over.
    Over {
        /// The round it belongs to.
        round: usize,
        /// Its place in the round.
        place: usize,
    },
    /// Everybody sees everything again.
    Healed {
        /// The round after which.
        round: usize,
    },
    /// A writer's operation began or ended.
    Act(Act),
    /// A writer's process was started, with these nodes.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// A raw watch is being opened.
    Opening,
    /// A raw watch told everything there is.
    Snapshot {
        /// The records.
        all: Vec<Told>,
    },
    /// A raw watch told changes.
    Changed {
        /// In the order in which they were told.
        changes: Vec<Told>,
    },
    /// A raw watch ended.
    Ended {
        /// Why.
        error: String,
    },
    /// The server itself numbers a change (where it does).
    Numbered {
        /// The number.
        revision: i64,
        /// What changed.
        change: Told,
    },
    /// The server's numbers begin anew, with these records.
    Renumbered {
        /// The number that these records are read at.
        revision: i64,
        /// The records.
        all: Vec<Told>,
    },
    /// A directory shows something else than before.
    Shows {
        /// What is live.
        set: Stamps,
        /// How many are kept as fallback.
        fallback: usize,
        /// Whether its watch is open.
        live: bool,
    },
    /// What the reads of a directory came to since the last such entry.
    Reads {
        /// How many there were.
        reads: usize,
        /// How many found nobody to call.
        empty: usize,
        /// The slowest, in microseconds.
        slowest: u64,
    },
    /// A fresh lookup was answered.
    Looked {
        /// When it was asked.
        asked: u64,
        /// What it found.
        set: Stamps,
        /// Whether a node was listed twice.
        doubled: bool,
    },
    /// A fresh lookup failed.
    LookFailed {
        /// When it was asked.
        asked: u64,
        /// Why.
        error: String,
    },
    /// Nobody writes any more, and this is what a fresh read says.
    Final {
        /// What it found.
        set: Stamps,
    },
    /// What a process uses.
    Usage {
        /// Whether the run is over; else it has warmed up.
        ended: bool,
        /// Resident memory in KiB.
        memory: u64,
        /// Open descriptors.
        descriptors: usize,
    },
}

impl What {
    /// What a watch told; `None` when it only confirmed what is known.
    #[must_use]
    pub fn told(event: &Event) -> Option<Self> {
        match event {
            Event::Snapshot(all) => Some(Self::Snapshot {
                all: all.iter().map(|one| Told::from(&**one)).collect(),
            }),
            Event::Changed(changes) => Some(Self::Changed {
                changes: changes.iter().map(Told::from).collect(),
            }),
            Event::Confirmed => None,
        }
    }
}

impl From<&Change> for Told {
    fn from(change: &Change) -> Self {
        match change {
            Change::Upsert(instance) => Self::from(&**instance),
            Change::Remove(key) => Self::from(key),
        }
    }
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the clock of the tape.
    pub at: u64,
    /// Who did or saw it.
    pub who: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_content_is_greater_whoever_wrote_it() {
        let stamp = |born, turn, hash| Stamp { born, turn, hash };
        assert!(stamp(1, 9, 9) < stamp(2, 0, 0));
        assert!(stamp(1, 1, 9) < stamp(1, 2, 0));
    }
}
