//! What is known of a registry, and how it differs from what the registry holds now.

use std::collections::BTreeMap;
use std::sync::Arc;

use waypost_core::{Change, Instance, InstanceKey};

/// The last known records, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(BTreeMap<InstanceKey, Arc<Instance>>);

impl Known {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `all` for everything there is, and returns what is different: new and changed records
    /// first, then those that are gone, each in the order of keys. Of two records with one key the
    /// later counts.
    pub fn replace<I>(&mut self, all: I) -> Vec<Change>
    where
        I: IntoIterator,
        I::Item: Into<Arc<Instance>>,
    {
        let next = Self::from_iter(all);
        let mut changes: Vec<Change> = next
            .0
            .iter()
            .filter(|(key, instance)| self.0.get(key) != Some(instance))
            .map(|(_, instance)| Change::Upsert(Arc::clone(instance)))
            .collect();
        let gone = self.0.keys().filter(|key| !next.0.contains_key(key));
        changes.extend(gone.cloned().map(Change::Remove));
        *self = next;
        changes
    }

    /// Applies one change and tells whether it made a difference.
    pub fn apply(&mut self, change: &Change) -> bool {
        if !self.differs(change) {
            return false;
        }
        match change {
            Change::Remove(key) => self.0.remove(key),
            Change::Upsert(instance) => self.0.insert(instance.key(), Arc::clone(instance)),
        };
        true
    }

    /// Applies changes in their order and returns those that made a difference.
    pub fn apply_all(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let mut effective = changes;
        effective.retain(|change| self.apply(change));
        effective
    }

    /// Whether `change` would make a difference.
    #[must_use]
    pub fn differs(&self, change: &Change) -> bool {
        match change {
            Change::Remove(key) => self.0.contains_key(key),
            Change::Upsert(instance) => self.0.get(&instance.key()) != Some(instance),
        }
    }

    /// The record of `key`.
    #[must_use]
    pub fn get(&self, key: &InstanceKey) -> Option<&Arc<Instance>> {
        self.0.get(key)
    }

    /// How many records are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no record is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All records, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceKey, &Arc<Instance>)> {
        self.0.iter()
    }

    /// All records, in the order of keys, as a snapshot carries them.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<Instance>> {
        self.0.values().cloned().collect()
    }
}

impl<T: Into<Arc<Instance>>> FromIterator<T> for Known {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let all = all.into_iter().map(Into::into);
        Self(all.map(|instance| (instance.key(), instance)).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_core::{Address, Node, NodeId, ServiceName};

    use super::*;

    fn instance(service: u8, node: u8, version: u8) -> Instance {
        let node = Node::new(
            NodeId::new(&format!("n{node}")).expect("id"),
            Address::new("10.0.0.1:80").expect("address"),
        );
        Instance::new(
            ServiceName::new(&format!("s{service}")).expect("name"),
            node,
        )
        .with_version(version.to_string())
    }

    fn any_records() -> impl Strategy<Value = Vec<Instance>> {
        prop::collection::vec((0..3u8, 0..4u8, 0..3u8), 0..12)
            .prop_map(|all| all.into_iter().map(|(s, n, v)| instance(s, n, v)).collect())
    }

    #[test]
    fn what_is_gone_is_told() {
        let mut known = Known::from_iter([instance(0, 0, 0), instance(0, 1, 0)]);
        let changes = known.replace([instance(0, 1, 0)]);
        assert_eq!(changes, [Change::Remove(instance(0, 0, 0).key())]);
    }

    proptest! {
        #[test]
        fn the_difference_leads_from_the_old_to_the_new_and_holds_nothing_else(
            old in any_records(), new in any_records(),
        ) {
            let mut known = Known::from_iter(old);
            let mut follower = known.clone();
            let changes = known.replace(new.clone());
            prop_assert_eq!(&known, &Known::from_iter(new.clone()));
            for change in &changes {
                prop_assert!(follower.apply(change), "{:?} changes nothing", change);
            }
            prop_assert_eq!(&follower, &known);
            prop_assert_eq!(known.replace(new), Vec::new());
        }
    }
}
