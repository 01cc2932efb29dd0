//! What a directory publishes: an immutable set of instances, cheap to publish and to read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Instance, InstanceKey};

/// Instances per chunk: a change copies one chunk and the list of chunks, so that its cost grows
/// with the square root of the set at worst (128 + 79 pointers for 10 000 nodes) and not with it.
const CHUNK: usize = 128;

/// The members of a service at one moment. Never half an update.
///
/// `live` are those that the registry vouches for. `fallback` is empty but after a mass departure:
/// when fewer than half of the last minute's peak are left, those that left within that minute
/// stay here, to be tried only when no live one answers. A registry that loses its leases, its
/// data or its mind takes nobody's callers down.
#[derive(Debug, Clone, Default)]
pub struct Members {
    live: Table,
    fallback: Table,
    version: u64,
}

impl Members {
    pub(super) fn new(live: Table, fallback: Table, version: u64) -> Self {
        Self {
            live,
            fallback,
            version,
        }
    }

    /// Number of live instances.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len
    }

    /// Whether there is nobody to call: no live instance and no fallback.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.len == 0 && self.fallback.len == 0
    }

    /// The live instance at `index`, below [`Members::len`]. Constant time; the order is
    /// arbitrary and changes only where a member came or went.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Arc<Instance>> {
        self.live.get(index)
    }

    /// The live instances.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.live.iter()
    }

    /// Those that left in a mass departure, to be tried when no live one answers.
    pub fn fallback(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.fallback.iter()
    }

    /// The live instances, then the fallback.
    pub fn candidates(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.live().chain(self.fallback())
    }

    /// Grows by at least one with every published change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// A list in chunks that clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    chunks: Vec<Arc<Vec<Arc<Instance>>>>,
    len: usize,
}

impl Table {
    fn get(&self, index: usize) -> Option<&Arc<Instance>> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    fn set(&mut self, index: usize, instance: Arc<Instance>) {
        if let Some(chunk) = self.chunks.get_mut(index / CHUNK)
            && let Some(place) = Arc::make_mut(chunk).get_mut(index % CHUNK)
        {
            *place = instance;
        }
    }

    fn push(&mut self, instance: Arc<Instance>) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(instance),
            _ => self.chunks.push(Arc::new(vec![instance])),
        }
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Arc<Instance>> {
        let chunk = self.chunks.last_mut()?;
        let last = Arc::make_mut(chunk).pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len -= usize::from(last.is_some());
        last
    }
}

/// A [`Table`] with an index, kept by the one writer.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    table: Table,
    index: HashMap<InstanceKey, usize>,
}

impl Indexed {
    pub(super) fn len(&self) -> usize {
        self.table.len
    }

    pub(super) fn table(&self) -> Table {
        self.table.clone()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.index.keys()
    }

    pub(super) fn get(&self, key: &InstanceKey) -> Option<&Arc<Instance>> {
        self.index.get(key).and_then(|place| self.table.get(*place))
    }

    /// Writes; tells whether anything is different now.
    pub(super) fn upsert(&mut self, instance: Arc<Instance>) -> bool {
        let key = instance.key();
        if let Some(place) = self.index.get(&key) {
            if self.table.get(*place) == Some(&instance) {
                return false;
            }
            self.table.set(*place, instance);
            return true;
        }
        self.index.insert(key, self.table.len);
        self.table.push(instance);
        true
    }

    /// Removes; the last member takes the free place.
    pub(super) fn remove(&mut self, key: &InstanceKey) -> Option<Arc<Instance>> {
        let place = self.index.remove(key)?;
        let last = self.table.pop()?;
        if place == self.table.len {
            return Some(last);
        }
        let gone = self.table.get(place).cloned();
        self.index.insert(last.key(), place);
        self.table.set(place, last);
        gone
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::fake::instance;

    proptest! {
        #[test]
        fn the_table_holds_what_a_map_would(
            steps in proptest::collection::vec((any::<bool>(), 0_u16..400, 0_u8..3), 0..900),
        ) {
            let mut model = BTreeMap::new();
            let mut indexed = Indexed::default();
            for (insert, node, version) in steps {
                let item = instance("s", &format!("n{node}")).with_version(version.to_string());
                let item = Arc::new(item);
                if insert {
                    let news = model.insert(item.key(), Arc::clone(&item)).as_ref() != Some(&item);
                    prop_assert_eq!(indexed.upsert(item), news);
                } else {
                    prop_assert_eq!(indexed.remove(&item.key()), model.remove(&item.key()));
                }
                prop_assert_eq!(indexed.len(), model.len());
            }
            let table = indexed.table();
            let seen: BTreeMap<_, _> =
                table.iter().map(|item| (item.key(), Arc::clone(item))).collect();
            prop_assert_eq!(seen, model.clone());
            for (key, place) in &indexed.index {
                prop_assert_eq!(table.get(*place), model.get(key));
            }
            for index in 0..table.len {
                prop_assert!(table.get(index).is_some());
            }
        }
    }

    #[test]
    fn a_published_table_is_not_touched_by_later_changes() {
        let mut indexed = Indexed::default();
        for n in 0..300 {
            indexed.upsert(Arc::new(instance("s", &format!("n{n}"))));
        }
        let before = indexed.table();
        indexed.remove(&instance("s", "n7").key());
        indexed.upsert(Arc::new(instance("s", "n8").with_version("2")));
        assert_eq!(before.len, 300);
        assert!(before.iter().all(|item| item.version == "latest"));
    }
}
