//! A record as Consul keeps it: an agent's service with a TTL check.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waypost_core::{
    Address, Error, Instance, Metadata, Node, NodeId, Result, ServiceName, SkipLog,
};
use waypost_plugin_kit::codec;

use crate::config::PROFILE;
use crate::owner::{OWNER, Owner};
use crate::tags;

/// The only status that takes an instance out; a warning counts as healthy, as in go-micro.
const CRITICAL: &str = "critical";
/// What Consul takes as metadata; one pair too many or odd, and it refuses the whole record.
const MAX_META_PAIRS: usize = 64;
const MAX_META_KEY: usize = 128;
const MAX_META_VALUE: usize = 512;

/// The body of a registration.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Definition {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) meta: Metadata,
    check: CheckDefinition,
    #[serde(skip)]
    pub(crate) owner: Option<Owner>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckDefinition {
    #[serde(rename = "CheckID")]
    check_id: String,
    #[serde(rename = "TTL")]
    ttl: String,
    status: &'static str,
    notes: String,
    deregister_critical_service_after: String,
}

impl Definition {
    /// The definition of `instance`, kept for `ttl`, and nobody's yet.
    ///
    /// # Errors
    /// `Config` for an instance that breaks a rule or that no reader would take.
    pub(crate) fn new(instance: &Instance, ttl: Duration) -> Result<Self> {
        codec::checked(instance)?;
        let tags = tags::encode(instance).map_err(|size| {
            Error::config(format!(
                "the tags of {} have {size} bytes; at most {} are allowed",
                instance.key(),
                tags::MAX_INFLATED
            ))
        })?;
        let node = &instance.node;
        let meta = accepted(&node.metadata);
        let mut hasher = DefaultHasher::new();
        (instance, ttl).hash(&mut hasher);
        Ok(Self {
            id: node.id.to_string(),
            name: instance.service.to_string(),
            tags,
            address: node.address.host().to_owned(),
            port: node.address.port(),
            meta,
            check: CheckDefinition {
                check_id: check_id(node.id.as_str()),
                ttl: go_duration(ttl),
                status: "passing",
                // Part of the check, so that whatever changes shows in the list of checks, which
                // is what a watch of all services looks at.
                notes: format!("waypost record {:016x}", hasher.finish()),
                deregister_critical_service_after: go_duration(reap_after(ttl)),
            },
            owner: None,
        })
    }

    /// The same, owned by `owner`.
    pub(crate) fn owned_by(&self, owner: Owner) -> Self {
        let mut owned = self.clone();
        owned.meta.insert(OWNER.to_owned(), owner.to_string());
        owned.owner = Some(owner);
        owned
    }

    /// Whether `held` is this record; whose it is does not matter.
    pub(crate) fn is_held(&self, held: &Held) -> bool {
        let without_owner = |meta: &Metadata| {
            let mut meta = meta.clone();
            meta.remove(OWNER);
            meta
        };
        let service = &held.service;
        (&self.name, &self.tags, &self.address, i64::from(self.port))
            == (&service.name, &service.tags, &service.address, service.port)
            && without_owner(&self.meta) == without_owner(&service.meta)
            && held
                .check
                .as_ref()
                .is_some_and(|check| check.notes == self.check.notes)
    }
}

/// The id of the TTL check of a service, as Consul makes it and go-micro passes it.
pub(crate) fn check_id(id: &str) -> String {
    format!("service:{id}")
}

/// When the agent forgets a record that nobody renews: go-micro's rule.
fn reap_after(ttl: Duration) -> Duration {
    if ttl < Duration::from_secs(60) {
        Duration::from_secs(65)
    } else {
        ttl + Duration::from_secs(5)
    }
}

/// A length of time as Go prints it: `1m5s`, `2.7s`.
fn go_duration(time: Duration) -> String {
    let (minutes, millis) = (time.as_millis() / 60_000, time.as_millis() % 60_000);
    let fraction = match millis % 1000 {
        0 => String::new(),
        rest => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    let seconds = format!("{}{fraction}s", millis / 1000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// The pairs that Consul takes, and room for the owner; the tags carry all of them.
fn accepted(metadata: &Metadata) -> Metadata {
    let good = |key: &str, value: &str| {
        let odd = |b: u8| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        key.len() <= MAX_META_KEY
            && !key.bytes().any(odd)
            && !key.starts_with("consul-")
            && key != OWNER
            && value.len() <= MAX_META_VALUE
    };
    metadata
        .iter()
        .filter(|(key, value)| good(key, value))
        .take(MAX_META_PAIRS - 1)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A service, as every answer spells it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Service {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Service")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) port: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta: Metadata,
    #[serde(default)]
    pub(crate) create_index: u64,
    #[serde(default)]
    pub(crate) modify_index: u64,
}

impl Service {
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.meta.get(OWNER).and_then(|owner| Owner::parse(owner))
    }
}

/// A check, as every answer spells it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Check {
    #[serde(default)]
    pub(crate) node: String,
    #[serde(rename = "CheckID")]
    pub(crate) check_id: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) notes: String,
    #[serde(default, rename = "ServiceID")]
    pub(crate) service_id: String,
    #[serde(default)]
    pub(crate) service_name: String,
    #[serde(default)]
    pub(crate) modify_index: u64,
}

impl Check {
    pub(crate) fn is_critical(&self) -> bool {
        self.status == CRITICAL
    }
}

/// A record as its own agent has it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) service: Service,
    /// The TTL check, where there is one.
    pub(crate) check: Option<Check>,
}

impl Held {
    /// Whether nobody has renewed it in time. Other checks are other people's business.
    pub(crate) fn is_expired(&self) -> bool {
        self.check.as_ref().is_some_and(Check::is_critical)
    }
}

/// A record as the servers have it, with the node of its agent and all its checks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) node: EntryNode,
    pub(crate) service: Service,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) checks: Vec<Check>,
}

/// The machine of an agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EntryNode {
    #[serde(rename = "Node")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) address: String,
}

impl Entry {
    fn is_live(&self) -> bool {
        !self.checks.iter().any(Check::is_critical)
    }

    /// Whether the TTL check of the record passes, whatever the others say.
    pub(crate) fn is_renewed(&self) -> bool {
        let id = check_id(&self.service.id);
        let ours = self.checks.iter().find(|check| check.check_id == id);
        ours.is_some_and(|check| !check.is_critical())
    }

    /// Whether the key's node can be this record: by its id, or by its id and machine, where an id
    /// is used on several (see [`instances`]).
    pub(crate) fn is_of(&self, node: &str) -> bool {
        node == self.service.id || node == self.id_with_machine()
    }

    fn id_with_machine(&self) -> String {
        format!("{}@{}", self.service.id, self.node.name)
    }

    fn place(&self) -> String {
        format!(
            "{}/{} at {}",
            self.service.name, self.service.id, self.node.name
        )
    }

    fn address(&self) -> Result<Address> {
        let host = match self.service.address.as_str() {
            "" => self.node.address.as_str(),
            host => host,
        };
        let port = self.service.port;
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Address::new(&format!("[{host}]:{port}")),
            Err(_) => Address::new(&format!("{host}:{port}")),
        }
    }

    fn instance(&self, service: &ServiceName, id: &str, skipped: &SkipLog) -> Result<Instance> {
        let node = Node::new(NodeId::foreign(id)?, self.address()?);
        let said = tags::decode(self.service.tags.iter().map(String::as_str));
        for (tag, rule) in &said.broken {
            let place = format!("{} tag {tag:?}", self.place());
            skipped.skip(PROFILE.driver, place, rule);
        }
        let mut instance = Instance::new(service.clone(), node);
        instance.version = said.version.unwrap_or_default();
        instance.metadata = said.service;
        instance.endpoints = said.endpoints;
        instance.node.metadata = said.node.unwrap_or_else(|| {
            let mut meta = self.service.meta.clone();
            meta.remove(OWNER);
            meta
        });
        instance.check_limits()?;
        Ok(instance)
    }
}

/// The live instances among `entries`. What cannot be believed is skipped and counted.
///
/// An id names one record of one agent. Where several agents have the same: the records of one
/// owner, or of one address, are the same instance that moved, and the latest counts; others are
/// different instances that somebody called alike, and all but the oldest get `@` and the name of
/// their machine behind their ids.
pub(crate) fn instances(
    service: &ServiceName,
    entries: Vec<Entry>,
    skipped: &SkipLog,
) -> Vec<Instance> {
    let mut by_id: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        // Consul ignores case when it looks a name up.
        if entry.is_live() && entry.service.name == service.as_str() {
            by_id
                .entry(entry.service.id.clone())
                .or_default()
                .push(entry);
        }
    }
    let mut instances = Vec::with_capacity(by_id.len());
    let mut namesakes = Vec::new();
    let mut take = |id: &str, entry: &Entry| match entry.instance(service, id, skipped) {
        Ok(instance) => instances.push(instance),
        Err(error) => skipped.skip(PROFILE.driver, entry.place(), error.to_string()),
    };
    for (id, records) in &mut by_id {
        let mut distinct = distinct(std::mem::take(records)).into_iter();
        if let Some(oldest) = distinct.next() {
            take(id, &oldest);
        }
        namesakes.extend(distinct);
    }
    let mut made_up = BTreeSet::new();
    for entry in namesakes {
        let id = entry.id_with_machine();
        if by_id.contains_key(&id) || !made_up.insert(id.clone()) {
            skipped.skip(
                PROFILE.driver,
                entry.place(),
                format!("the id {id:?} is another record's"),
            );
        } else {
            take(&id, &entry);
        }
    }
    instances
}

/// Of records with one id those that are different instances, oldest first.
fn distinct(mut namesakes: Vec<Entry>) -> Vec<Entry> {
    if namesakes.len() < 2 {
        return namesakes;
    }
    namesakes.sort_by_key(|entry| entry.service.modify_index);
    let mut distinct: Vec<Entry> = Vec::new();
    for entry in namesakes {
        match distinct.iter_mut().find(|other| is_same(other, &entry)) {
            Some(other) => {
                let age = |entry: &Entry| entry.service.owner().map(|owner| owner.number);
                let one_process = process(other) == process(&entry);
                if !one_process || age(other) <= age(&entry) {
                    *other = entry;
                }
            }
            None => distinct.push(entry),
        }
    }
    distinct.sort_by_key(|entry| entry.service.create_index);
    distinct
}

fn is_same(one: &Entry, other: &Entry) -> bool {
    let owned = |entry: &Entry| entry.service.owner().is_some();
    owned(one) && owned(other) || one.address().ok() == other.address().ok()
}

fn process(entry: &Entry) -> Option<String> {
    entry.service.owner().map(|owner| owner.process)
}

/// Go writes `null` for what is empty.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
