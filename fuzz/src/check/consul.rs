//! What Consul answers, and what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use waypost_core::{Instance, ServiceName, SkipLog};

use crate::memory::within;
use crate::owner::Owner;
use crate::rules;
use crate::sources::consul::{Definition, Entry, instances};

/// An answer of `/v1/health/service/…`.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(owner) = Owner::parse(text)
    {
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
    }
    let Ok(entries) = serde_json::from_slice::<Vec<Entry>>(data) else {
        return;
    };
    let names: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry.service.name.as_str())
        .collect();
    for name in names {
        if let Ok(name) = ServiceName::foreign(name) {
            answered(&name, entries.clone());
        }
    }
}

fn answered(name: &ServiceName, entries: Vec<Entry>) {
    let (sent, skipped) = (entries.len(), SkipLog::new());
    let most = sent * 200 * 256 * 1024;
    let all = within(most, || instances(name, entries, &skipped));
    assert!(all.len() <= sent);
    let ids: BTreeSet<&str> = all
        .iter()
        .map(|instance| instance.node.id.as_str())
        .collect();
    assert_eq!(ids.len(), all.len(), "each record has an id of its own");
    for instance in &all {
        assert_eq!(&instance.service, name);
        rules::keeps(instance);
        // What a new record may not be called is refused.
        if let Ok(definition) = Definition::new(instance, Duration::from_secs(30)) {
            takes(&definition);
            assert_eq!(found(&definition), [instance.clone()]);
        }
    }
}

/// One pair too many or odd, and Consul refuses the whole record.
fn takes(definition: &Definition) {
    let owned = definition.owned_by(Owner {
        process: "0123456789abcdef".to_owned(),
        number: u64::MAX,
    });
    assert!(owned.meta.len() <= 64);
    for (key, value) in &owned.meta {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(key.len() <= 128 && key.bytes().all(plain), "{key:?}");
        assert!(!key.starts_with("consul-") && value.len() <= 512, "{key:?}");
    }
    assert!(owned.tags.iter().all(|tag| tag.is_ascii()));
    assert_ne!(owned.port, 0);
}

/// The record as Consul gives it back.
fn found(definition: &Definition) -> Vec<Instance> {
    let body = serde_json::to_value(definition).expect("a definition is JSON");
    let service: BTreeMap<&str, &Value> = [
        ("ID", &body["ID"]),
        ("Service", &body["Name"]),
        ("Tags", &body["Tags"]),
        ("Address", &body["Address"]),
        ("Port", &body["Port"]),
        ("Meta", &body["Meta"]),
    ]
    .into();
    let entry =
        json!({"Node": {"Node": "m", "Address": "10.9.9.9"}, "Service": service, "Checks": null});
    let entries = vec![serde_json::from_value(entry).expect("an entry")];
    let skipped = SkipLog::new();
    let name = ServiceName::foreign(&definition.name).expect("a name");
    let all = instances(&name, entries, &skipped);
    assert_eq!(skipped.total(), 0, "{:?}", skipped.recent());
    all
}
