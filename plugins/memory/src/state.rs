//! The map itself: records, their deadlines, and who watches them. Knows no locks and no tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use waypost_core::{Change, Event, Instance, InstanceKey, NodeId, ServiceName, WatchScope};
use waypost_plugin_kit::Publisher;

/// Tells one registration from another of the same key, and one watcher from another.
pub(crate) type Token = u64;

#[derive(Debug, Default)]
pub(crate) struct State {
    records: BTreeMap<ServiceName, BTreeMap<NodeId, Record>>,
    /// Each record once, ordered by the moment at which it expires.
    deadlines: BTreeMap<(Instant, Token), InstanceKey>,
    watchers: BTreeMap<WatchScope, BTreeMap<Token, Publisher>>,
    last: Token,
}

#[derive(Debug)]
struct Record {
    instance: Arc<Instance>,
    owner: Token,
    deadline: Instant,
    /// Dropped with the record, which tells the lease.
    _held: watch::Sender<()>,
}

/// What a lease gets: its token, and a receiver that closes when the record is lost.
pub(crate) struct Claim {
    pub(crate) owner: Token,
    pub(crate) held: watch::Receiver<()>,
}

impl State {
    pub(crate) fn insert(&mut self, instance: Arc<Instance>, deadline: Instant) -> Claim {
        let owner = self.token();
        let key = instance.key();
        let (sender, held) = watch::channel(());
        let record = Record {
            instance: Arc::clone(&instance),
            owner,
            deadline,
            _held: sender,
        };
        self.deadlines.insert((deadline, owner), key.clone());
        let nodes = self.records.entry(key.service).or_default();
        let before = nodes.insert(key.node, record);
        if let Some(before) = &before {
            self.deadlines.remove(&(before.deadline, before.owner));
        }
        if before.is_none_or(|before| before.instance != instance) {
            self.publish(vec![Change::Upsert(instance)]);
        }
        Claim { owner, held }
    }

    /// Moves the deadline of a record, if it is still `owner`'s.
    pub(crate) fn renew(&mut self, key: &InstanceKey, owner: Token, deadline: Instant) -> bool {
        let Some(record) = owned(&mut self.records, key, owner) else {
            return false;
        };
        self.deadlines.remove(&(record.deadline, owner));
        record.deadline = deadline;
        self.deadlines.insert((deadline, owner), key.clone());
        true
    }

    /// Gives a record new content, if it is still `owner`'s.
    pub(crate) fn update(&mut self, owner: Token, instance: Arc<Instance>) -> bool {
        let Some(record) = owned(&mut self.records, &instance.key(), owner) else {
            return false;
        };
        if record.instance != instance {
            record.instance = Arc::clone(&instance);
            self.publish(vec![Change::Upsert(instance)]);
        }
        true
    }

    /// Removes a record, whoever owns it.
    pub(crate) fn remove(&mut self, key: &InstanceKey) {
        if self.take(key).is_some() {
            self.publish(vec![Change::Remove(key.clone())]);
        }
    }

    /// Removes a record, if it is still `owner`'s.
    pub(crate) fn revoke(&mut self, key: &InstanceKey, owner: Token) {
        if owned(&mut self.records, key, owner).is_some() {
            self.remove(key);
        }
    }

    /// Removes what has expired by `now`; the next deadline, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut changes = Vec::new();
        while let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            self.take(&key);
            changes.push(Change::Remove(key));
        }
        if !changes.is_empty() {
            self.publish(changes);
        }
        self.next_deadline()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines
            .first_key_value()
            .map(|((deadline, _), _)| *deadline)
    }

    pub(crate) fn lookup(&self, service: &ServiceName) -> Vec<Arc<Instance>> {
        let nodes = self.records.get(service).into_iter().flatten();
        nodes
            .map(|(_, record)| Arc::clone(&record.instance))
            .collect()
    }

    pub(crate) fn services(&self) -> Vec<ServiceName> {
        self.records.keys().cloned().collect()
    }

    /// Adds a watcher, whose first event is what there is now.
    pub(crate) fn watch(&mut self, scope: &WatchScope, publisher: Publisher) -> Token {
        let all = match scope {
            WatchScope::All => {
                let records = self.records.values().flatten();
                records
                    .map(|(_, record)| Arc::clone(&record.instance))
                    .collect()
            }
            WatchScope::Service(service) => self.lookup(service),
        };
        publisher.publish(Event::Snapshot(all));
        let token = self.token();
        let watchers = self.watchers.entry(scope.clone()).or_default();
        watchers.insert(token, publisher);
        token
    }

    pub(crate) fn unwatch(&mut self, scope: &WatchScope, token: Token) {
        if let Some(watchers) = self.watchers.get_mut(scope) {
            watchers.remove(&token);
            if watchers.is_empty() {
                self.watchers.remove(scope);
            }
        }
    }

    fn token(&mut self) -> Token {
        self.last += 1;
        self.last
    }

    fn take(&mut self, key: &InstanceKey) -> Option<Record> {
        let nodes = self.records.get_mut(&key.service)?;
        let record = nodes.remove(&key.node)?;
        if nodes.is_empty() {
            self.records.remove(&key.service);
        }
        self.deadlines.remove(&(record.deadline, record.owner));
        Some(record)
    }

    /// Tells all changes of one moment in one event to each watcher that they concern.
    fn publish(&self, changes: Vec<Change>) {
        let tell = |scope: &WatchScope, changes: &[Change]| {
            for publisher in self
                .watchers
                .get(scope)
                .into_iter()
                .flat_map(BTreeMap::values)
            {
                publisher.publish(Event::Changed(changes.to_vec()));
            }
        };
        tell(&WatchScope::All, &changes);
        let mut by_service: BTreeMap<ServiceName, Vec<Change>> = BTreeMap::new();
        for change in changes {
            let service = change.key().service;
            by_service.entry(service).or_default().push(change);
        }
        for (service, changes) in by_service {
            tell(&WatchScope::Service(service), &changes);
        }
    }
}

fn owned<'a>(
    records: &'a mut BTreeMap<ServiceName, BTreeMap<NodeId, Record>>,
    key: &InstanceKey,
    owner: Token,
) -> Option<&'a mut Record> {
    let record = records.get_mut(&key.service)?.get_mut(&key.node)?;
    (record.owner == owner).then_some(record)
}
