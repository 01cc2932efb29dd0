//! What a watcher knows, by path.

use std::collections::BTreeMap;
use std::sync::Arc;

use waypost_core::{Change, Instance, WatchScope};

/// The records of a scope. A path tells the service's name but for `/`, which is written as `-`;
/// the record itself says which it is.
#[derive(Debug)]
pub(crate) struct View {
    scope: WatchScope,
    records: BTreeMap<String, Arc<Instance>>,
}

impl View {
    pub(crate) fn new(scope: WatchScope) -> Self {
        Self {
            scope,
            records: BTreeMap::new(),
        }
    }

    pub(crate) fn scope(&self) -> &WatchScope {
        &self.scope
    }

    /// All records, in the order of paths.
    pub(crate) fn records(&self) -> Vec<Arc<Instance>> {
        self.records.values().cloned().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes `record` for what stands at `path` now, and tells what that changes.
    pub(crate) fn set(&mut self, path: String, record: Option<Arc<Instance>>) -> Vec<Change> {
        let record = record.filter(|record| self.scope.covers(&record.service));
        let before = match &record {
            Some(record) => self.records.insert(path, Arc::clone(record)),
            None => self.records.remove(&path),
        };
        if before == record {
            return Vec::new();
        }
        let gone = before.map(|before| before.key());
        let gone = gone.filter(|gone| record.as_ref().is_none_or(|record| record.key() != *gone));
        let changes = gone.map(Change::Remove).into_iter();
        changes.chain(record.map(Change::Upsert)).collect()
    }
}

#[cfg(test)]
mod tests {
    use waypost_core::{Address, Node, NodeId, ServiceName};

    use super::*;

    fn record(service: &str, version: &str) -> Arc<Instance> {
        let id = NodeId::new("n").expect("id");
        let node = Node::new(id, Address::new("10.0.0.1:80").expect("address"));
        let name = ServiceName::foreign(service).expect("name");
        Arc::new(Instance::new(name, node).with_version(version))
    }

    fn set(view: &mut View, record: Option<&Arc<Instance>>) -> Vec<Change> {
        view.set("/r/a-b/n".to_owned(), record.cloned())
    }

    #[test]
    fn only_differences_are_told() {
        let mut view = View::new(WatchScope::All);
        let (one, two) = (record("a-b", "1"), record("a-b", "2"));
        assert_eq!(set(&mut view, None), []);
        assert_eq!(
            set(&mut view, Some(&one)),
            [Change::Upsert(Arc::clone(&one))]
        );
        assert_eq!(set(&mut view, Some(&one)), []);
        assert_eq!(
            set(&mut view, Some(&two)),
            [Change::Upsert(Arc::clone(&two))]
        );
        assert_eq!(view.records(), [Arc::clone(&two)]);
        assert_eq!(set(&mut view, None), [Change::Remove(two.key())]);
        assert!(view.is_empty());
    }

    #[test]
    fn a_path_can_pass_from_one_service_to_another() {
        let (dash, slash) = (record("a-b", "1"), record("a/b", "1"));
        let mut view = View::new(WatchScope::All);
        set(&mut view, Some(&dash));
        let changes = set(&mut view, Some(&slash));
        assert_eq!(
            changes,
            [
                Change::Remove(dash.key()),
                Change::Upsert(Arc::clone(&slash))
            ]
        );

        let mut narrow = View::new(dash.service.clone().into());
        assert_eq!(set(&mut narrow, Some(&slash)), []);
        set(&mut narrow, Some(&dash));
        assert_eq!(set(&mut narrow, Some(&slash)), [Change::Remove(dash.key())]);
    }
}
