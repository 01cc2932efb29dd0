//! The backend: bytes by key, each with an owner and a deadline.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_conformance::Cut;
use waypost_core::{Endpoint, Instance, Metadata, Node, NodeId, Service, ServiceName};

/// Service and node of a record, as the key spells them.
pub(crate) type Key = (String, String);

#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) bytes: Vec<u8>,
    pub(crate) owner: u64,
    pub(crate) deadline: Instant,
}

/// What there is, with the number of the latest change and whether clients reach it.
#[derive(Debug, Default)]
pub(crate) struct Map {
    slots: Mutex<BTreeMap<Key, Slot>>,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) cut: watch::Sender<Option<Cut>>,
}

/// A record that can be believed, or where it stands and why it cannot.
pub(crate) type Read = Result<Instance, (Key, String)>;

impl Map {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
        self.slots.lock().expect("no panic under the lock")
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    pub(crate) fn write(&self, instance: &Instance, owner: u64, ttl: Duration) {
        self.lock()
            .insert(key(instance), slot(instance, owner, ttl));
        self.changed();
    }

    /// What has not expired, and when the first of it will.
    pub(crate) fn read(&self, believe_record: bool) -> (Vec<Read>, Option<Instant>) {
        let now = Instant::now();
        let mut slots = self.lock();
        slots.retain(|_, slot| slot.deadline > now);
        let next = slots.values().map(|slot| slot.deadline).min();
        let read = slots.iter().map(|(key, slot)| {
            let fault = |text: String| (key.clone(), text);
            let instance = decode(&slot.bytes).map_err(fault)?;
            if self::key(&instance) != *key && !believe_record {
                return Err(fault("the record is not its key's".to_owned()));
            }
            Ok(instance)
        });
        (read.collect(), next)
    }

    /// Whether the record of `key` is still there and `owner`'s.
    pub(crate) fn owns(&self, key: &Key, owner: u64) -> bool {
        let slots = self.lock();
        slots
            .get(key)
            .is_some_and(|slot| slot.owner == owner && slot.deadline > Instant::now())
    }

    pub(crate) fn plant(&self, service: &str, node: &str, bytes: &[u8]) {
        let slot = Slot {
            bytes: bytes.to_vec(),
            owner: 0,
            deadline: Instant::now() + Duration::from_secs(60),
        };
        self.lock()
            .insert((service.to_owned(), node.to_owned()), slot);
        self.changed();
    }

    pub(crate) fn fill(&self, instances: &[Instance]) {
        let minute = Duration::from_secs(60);
        let all = instances
            .iter()
            .map(|each| (key(each), slot(each, 0, minute)));
        *self.lock() = all.collect();
        self.changed();
    }

    pub(crate) fn set_cut(&self, cut: Option<Cut>) {
        self.cut.send_replace(cut);
    }
}

pub(crate) fn key(instance: &Instance) -> Key {
    (instance.service.to_string(), instance.node.id.to_string())
}

fn slot(instance: &Instance, owner: u64, ttl: Duration) -> Slot {
    Slot {
        bytes: serde_json::to_vec(&Service::from(instance)).expect("a service is JSON"),
        owner,
        deadline: Instant::now() + ttl,
    }
}

#[derive(Deserialize)]
struct Record {
    name: String,
    version: String,
    metadata: Option<Metadata>,
    endpoints: Option<Vec<Endpoint>>,
    nodes: Vec<Node>,
}

fn decode(bytes: &[u8]) -> Result<Instance, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let record: Record = serde_json::from_slice(bytes).map_err(|error| text(&error))?;
    let node = record.nodes.into_iter().next().ok_or("there is no node")?;
    NodeId::foreign(node.id.as_str()).map_err(|error| text(&error))?;
    let service = ServiceName::foreign(&record.name).map_err(|error| text(&error))?;
    let mut instance = Instance::new(service, node).with_version(record.version);
    instance.metadata = record.metadata.unwrap_or_default();
    instance.endpoints = record.endpoints.unwrap_or_default();
    Ok(instance)
}
