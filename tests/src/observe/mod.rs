//! Those who look on while a fault happens: fresh lookups, raw watches, directories.

mod lookups;
mod reader;
mod watched;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use waypost_core::{Instance, NodeId};

pub use lookups::Lookups;
pub use reader::Reader;
pub use watched::Watched;
pub use writes::Writes;

/// The instances of one service as somebody sees them.
pub type Set = BTreeMap<NodeId, Arc<Instance>>;

/// Somebody who sees the service.
pub trait Eye {
    /// Its name in the timeline.
    fn name(&self) -> &str;

    /// What it sees; `None` when it has seen nothing since the moment given.
    fn sees(&self, since: Instant) -> Option<Set>;
}

/// The difference between two sights, in words; empty when they name the same records.
pub(crate) fn difference(before: &Set, now: &Set) -> String {
    let mut words = Vec::new();
    for (id, instance) in now {
        match before.get(id) {
            None => words.push(format!("+{id}")),
            Some(old) if old != instance => words.push(format!("~{id}")),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|id| !now.contains_key(*id));
    words.extend(gone.map(|id| format!("-{id}")));
    if words.len() > 12 {
        let more = words.len() - 12;
        words.truncate(12);
        words.push(format!("and {more} more"));
    }
    words.join(" ")
}
