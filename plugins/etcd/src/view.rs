//! What a reader of one scope has been told, by the keys of etcd.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use etcd_client::proto::PbKeyValue;
use waypost_core::{Change, Instance, InstanceKey, ServiceName, SkipLog, WatchScope};
use waypost_plugin_kit::codec;

use crate::config::DRIVER;
use crate::layout::{Layout, Layouts, Place};
use crate::range::Sink;

/// The good records of a scope.
///
/// Deletions name keys only, hence keys are remembered with what they hold. A record that stands
/// in several layouts is told as the most current one says.
#[derive(Debug)]
pub(crate) struct View {
    scope: WatchScope,
    layouts: Arc<Layouts>,
    skipped: SkipLog,
    places: HashMap<String, (Layout, InstanceKey)>,
    records: BTreeMap<InstanceKey, BTreeMap<Layout, Arc<Instance>>>,
}

impl View {
    pub(crate) fn new(scope: WatchScope, layouts: Arc<Layouts>, skipped: SkipLog) -> Self {
        Self {
            scope,
            layouts,
            skipped,
            places: HashMap::new(),
            records: BTreeMap::new(),
        }
    }

    pub(crate) fn scope(&self) -> &WatchScope {
        &self.scope
    }

    /// All instances, in the order of keys.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.records.values().filter_map(counting)
    }

    /// All instances, for one reader.
    pub(crate) fn into_instances(self) -> Vec<Instance> {
        let records = self.records.into_values();
        let counting = records.filter_map(|by_layout| by_layout.into_values().next());
        counting.map(Arc::unwrap_or_clone).collect()
    }

    /// The names of all services, in order.
    pub(crate) fn services(&self) -> Vec<ServiceName> {
        let mut names: Vec<ServiceName> = Vec::new();
        for id in self.records.keys() {
            if names.last() != Some(&id.service) {
                names.push(id.service.clone());
            }
        }
        names
    }

    /// Whether a record of `layout` is known.
    pub(crate) fn holds(&self, layout: Layout) -> bool {
        self.places.values().any(|(of, _)| *of == layout)
    }

    /// A key was written; adds what that changes for a reader.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8], changes: &mut Vec<Change>) {
        let Ok(key) = std::str::from_utf8(key) else {
            let place = String::from_utf8_lossy(key);
            self.skipped
                .skip(DRIVER.name, place, "the key is not UTF-8");
            return;
        };
        match self.decode(key, value) {
            Ok(Some((layout, instance))) => self.insert(key, layout, instance, changes),
            // What stood there before is no longer what the registry holds.
            Ok(None) => self.take(key, changes),
            Err(reason) => {
                self.skipped.skip(DRIVER.name, key, reason);
                self.take(key, changes);
            }
        }
    }

    /// A key was deleted; adds what that changes for a reader.
    pub(crate) fn delete(&mut self, key: &[u8], changes: &mut Vec<Change>) {
        if let Ok(key) = std::str::from_utf8(key) {
            self.take(key, changes);
        }
    }

    /// The instance that stands under `key`, if it is within the scope.
    fn decode(&self, key: &str, value: &[u8]) -> Result<Option<(Layout, Instance)>, String> {
        let (layout, service, node) = match self.layouts.place(key) {
            Place::Record(layout, service, node) => (layout, service, node),
            Place::Foreign => return Ok(None),
            Place::Odd => return Err("the key is not <service>/<node> below the prefix".to_owned()),
        };
        let instance = codec::decode_record(service, node, value)?;
        let covered = self.scope.covers(&instance.service);
        Ok(covered.then_some((layout, instance)))
    }

    fn insert(&mut self, key: &str, layout: Layout, instance: Instance, changes: &mut Vec<Change>) {
        let id = instance.key();
        if self.places.get(key).is_none_or(|(_, before)| *before != id) {
            // `a/b` and `a-b` share their keys: the record may have changed its name.
            self.take(key, changes);
            self.places.insert(key.to_owned(), (layout, id.clone()));
        }
        let by_layout = self.records.entry(id).or_default();
        let before = counting(by_layout).cloned();
        by_layout.insert(layout, Arc::new(instance));
        let now = counting(by_layout);
        if now != before.as_ref() {
            changes.extend(now.cloned().map(Change::Upsert));
        }
    }

    fn take(&mut self, key: &str, changes: &mut Vec<Change>) {
        let Some((layout, id)) = self.places.remove(key) else {
            return;
        };
        let Some(by_layout) = self.records.get_mut(&id) else {
            return;
        };
        let before = counting(by_layout).cloned();
        by_layout.remove(&layout);
        match counting(by_layout).cloned() {
            None => {
                self.records.remove(&id);
                changes.push(Change::Remove(id));
            }
            now if now == before => {}
            now => changes.extend(now.map(Change::Upsert)),
        }
    }
}

/// Of the same record in several layouts, the one that counts.
fn counting(by_layout: &BTreeMap<Layout, Arc<Instance>>) -> Option<&Arc<Instance>> {
    by_layout.values().next()
}

impl Sink for View {
    fn found(&mut self, record: PbKeyValue) {
        // Nobody was told anything yet: a snapshot is made of all of it.
        self.put(&record.key, &record.value, &mut Vec::new());
    }

    fn too_large(&mut self, key: &[u8]) {
        let place = String::from_utf8_lossy(key);
        self.skipped
            .skip(DRIVER.name, place, "the record is too large to be read");
    }
}

#[cfg(test)]
mod tests {
    use waypost_core::{Address, Node, NodeId, ServiceName};

    use super::*;

    fn instance(service: &str, version: &str) -> Instance {
        let id = NodeId::foreign("n-1").expect("id");
        let node = Node::new(id, Address::new("10.0.0.1:80").expect("address"));
        Instance::new(ServiceName::foreign(service).expect("name"), node).with_version(version)
    }

    fn view(scope: WatchScope) -> View {
        let layouts = Layouts::with_legacy("micro").expect("layouts");
        View::new(scope, Arc::new(layouts), SkipLog::new())
    }

    fn put(view: &mut View, key: &str, instance: &Instance) -> Vec<Change> {
        let mut changes = Vec::new();
        view.put(key.as_bytes(), &codec::encode(instance), &mut changes);
        changes
    }

    fn delete(view: &mut View, key: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        view.delete(key.as_bytes(), &mut changes);
        changes
    }

    fn upsert(instance: &Instance) -> Vec<Change> {
        vec![Change::Upsert(Arc::new(instance.clone()))]
    }

    #[test]
    fn the_current_layout_wins_and_the_older_one_takes_its_place() {
        let mut view = view(WatchScope::All);
        let (old, new) = (instance("s", "old"), instance("s", "new"));
        assert_eq!(put(&mut view, "/micro-registry/s/n-1", &old), upsert(&old));
        assert!(view.holds(Layout::First) && !view.holds(Layout::Current));
        assert_eq!(put(&mut view, "/micro/registry/s/n-1", &new), upsert(&new));
        assert_eq!(put(&mut view, "/micro/registry/micro/s/n-1", &old), []);
        assert_eq!(view.instances().count(), 1);
        assert_eq!(delete(&mut view, "/micro/registry/s/n-1"), upsert(&old));
        assert_eq!(delete(&mut view, "/micro-registry/s/n-1"), []);
        assert_eq!(
            delete(&mut view, "/micro/registry/micro/s/n-1"),
            [Change::Remove(old.key())]
        );
        assert_eq!(view.instances().count(), 0);
    }

    #[test]
    fn unchanged_content_is_no_change_and_unknown_keys_delete_nothing() {
        let mut view = view(WatchScope::All);
        let one = instance("s", "1");
        assert_eq!(put(&mut view, "/micro/registry/s/n-1", &one), upsert(&one));
        assert_eq!(put(&mut view, "/micro/registry/s/n-1", &one), []);
        assert_eq!(delete(&mut view, "/micro/registry/s/n-2"), []);
    }

    #[test]
    fn a_record_that_turns_bad_is_gone_and_counted() {
        let mut view = view(WatchScope::All);
        let one = instance("s", "1");
        put(&mut view, "/micro/registry/s/n-1", &one);
        let mut changes = Vec::new();
        view.put(b"/micro/registry/s/n-1", b"null", &mut changes);
        assert_eq!(changes, [Change::Remove(one.key())]);
        view.put(b"/micro/registry/s/\xFF", b"{}", &mut changes);
        view.put(b"/micro/registry/x", b"{}", &mut changes);
        assert_eq!((view.skipped.total(), changes.len()), (3, 1));
    }

    #[test]
    fn names_that_share_a_key_are_told_apart_by_the_record() {
        let (slash, dash) = (instance("a/b", "1"), instance("a-b", "1"));
        let mut all = view(WatchScope::All);
        put(&mut all, "/micro/registry/a-b/n-1", &slash);
        assert_eq!(
            put(&mut all, "/micro/registry/a-b/n-1", &dash),
            [
                Change::Remove(slash.key()),
                Change::Upsert(Arc::new(dash.clone()))
            ]
        );
        let mut one = view(WatchScope::Service(slash.service.clone()));
        assert_eq!(
            put(&mut one, "/micro/registry/a-b/n-1", &slash),
            upsert(&slash)
        );
        assert_eq!(
            put(&mut one, "/micro/registry/a-b/n-1", &dash),
            [Change::Remove(slash.key())]
        );
    }
}
