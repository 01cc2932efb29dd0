//! A watch as a list of what happened, however often the registry was lost in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use waypost::{Change, Event, Instance, InstanceKey};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// All there was when the watch began.
    Snapshot(Vec<Arc<Instance>>),
    Create(Arc<Instance>),
    Update(Arc<Instance>),
    /// With the last that was known of it.
    Delete(Arc<Instance>),
}

/// Folds the events of one watch after another into actions: the first snapshot is told as it is,
/// a later one as what it changes.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    known: Option<BTreeMap<InstanceKey, Arc<Instance>>>,
}

impl Feed {
    pub(crate) fn take(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Confirmed => Vec::new(),
            Event::Changed(changes) => {
                let known = self.known.get_or_insert_default();
                let actions = changes
                    .into_iter()
                    .filter_map(|change| apply(known, change));
                actions.collect()
            }
            Event::Snapshot(instances) => self.snapshot(instances),
        }
    }

    fn snapshot(&mut self, instances: Vec<Arc<Instance>>) -> Vec<Action> {
        let all = instances.iter().map(|i| (i.key(), Arc::clone(i))).collect();
        let Some(known) = &mut self.known else {
            self.known = Some(all);
            return vec![Action::Snapshot(instances)];
        };
        let gone: Vec<_> = known
            .keys()
            .filter(|key| !all.contains_key(*key))
            .cloned()
            .map(Change::Remove)
            .collect();
        let there = all.into_values().map(Change::Upsert);
        gone.into_iter()
            .chain(there)
            .filter_map(|change| apply(known, change))
            .collect()
    }
}

fn apply(known: &mut BTreeMap<InstanceKey, Arc<Instance>>, change: Change) -> Option<Action> {
    match change {
        Change::Remove(key) => known.remove(&key).map(Action::Delete),
        Change::Upsert(instance) => match known.insert(instance.key(), Arc::clone(&instance)) {
            None => Some(Action::Create(instance)),
            Some(before) if before == instance => None,
            Some(_) => Some(Action::Update(instance)),
        },
    }
}

#[cfg(test)]
mod tests {
    use waypost::{Address, Node, NodeId, ServiceName};

    use super::*;

    fn instance(node: &str, port: u16) -> Arc<Instance> {
        let address = Address::new(&format!("10.0.0.1:{port}")).expect("address");
        let node = Node::new(NodeId::new(node).expect("id"), address);
        Arc::new(Instance::new(
            ServiceName::new("orders").expect("name"),
            node,
        ))
    }

    #[test]
    fn a_later_snapshot_is_told_as_what_it_changes() {
        let mut feed = Feed::default();
        let (a, b, c) = (instance("a", 1), instance("b", 1), instance("c", 1));
        let first = vec![Arc::clone(&a), Arc::clone(&b)];
        assert_eq!(
            feed.take(Event::Snapshot(first.clone())),
            [Action::Snapshot(first)]
        );
        let moved = instance("b", 2);
        let second = vec![Arc::clone(&moved), Arc::clone(&c)];
        assert_eq!(
            feed.take(Event::Snapshot(second)),
            [
                Action::Delete(a),
                Action::Update(Arc::clone(&moved)),
                Action::Create(Arc::clone(&c))
            ]
        );
        assert_eq!(feed.take(Event::Snapshot(vec![moved, c])), []);
    }

    #[test]
    fn a_delete_carries_the_last_record_and_nothing_is_told_twice() {
        let mut feed = Feed::default();
        feed.take(Event::Snapshot(Vec::new()));
        let (a, moved) = (instance("a", 1), instance("a", 2));
        let upsert = |i: &Arc<Instance>| Change::Upsert(Arc::clone(i));
        let batch = vec![
            upsert(&a),
            upsert(&a),
            upsert(&moved),
            Change::Remove(a.key()),
        ];
        assert_eq!(
            feed.take(Event::Changed(batch)),
            [
                Action::Create(Arc::clone(&a)),
                Action::Update(Arc::clone(&moved)),
                Action::Delete(moved)
            ]
        );
        assert_eq!(feed.take(Event::Changed(vec![Change::Remove(a.key())])), []);
        assert_eq!(feed.take(Event::Confirmed), []);
    }
}
