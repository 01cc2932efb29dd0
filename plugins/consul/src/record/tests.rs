use serde_json::{Value, json};

use super::*;

fn name(name: &str) -> ServiceName {
    ServiceName::foreign(name).expect("name")
}

fn instance() -> Instance {
    let id = NodeId::new("orders-1").expect("id");
    let address = Address::new("[2001:db8::7]:8080").expect("address");
    Instance::new(name("orders"), Node::new(id, address)).with_version("1.0.0")
}

fn owner(process: &str, number: u64) -> Owner {
    Owner {
        process: process.to_owned(),
        number,
    }
}

fn definition(instance: &Instance) -> Definition {
    let definition = Definition::new(instance, Duration::from_secs(30)).expect("definition");
    definition.owned_by(owner("p", 1))
}

fn entry(id: &str, machine: &str, address: &str, index: u64, meta: Value) -> Entry {
    serde_json::from_value(json!({
        "Node": {"Node": machine, "Address": "10.9.9.9"},
        "Service": {
            "ID": id, "Service": "orders", "Address": address, "Port": 80,
            "Tags": null, "Meta": meta, "CreateIndex": index, "ModifyIndex": index,
        },
        "Checks": [{"CheckID": "serfHealth", "Status": "passing"}],
    }))
    .expect("entry")
}

fn read(entries: Vec<Entry>) -> Vec<(String, String)> {
    instances(&name("orders"), entries, &SkipLog::new())
        .into_iter()
        .map(|instance| {
            (
                instance.node.id.to_string(),
                instance.node.address.host().to_owned(),
            )
        })
        .collect()
}

fn pair(id: &str, host: &str) -> (String, String) {
    (id.to_owned(), host.to_owned())
}

#[test]
fn a_definition_is_go_micros() {
    let body = serde_json::to_value(definition(&instance())).expect("json");
    assert_eq!(body["ID"], "orders-1");
    assert_eq!(body["Name"], "orders");
    assert_eq!(
        (&body["Address"], &body["Port"]),
        (&json!("2001:db8::7"), &json!(8080))
    );
    let check = &body["Check"];
    assert_eq!(check["CheckID"], "service:orders-1");
    assert_eq!(
        (&check["TTL"], &check["Status"]),
        (&json!("30s"), &json!("passing"))
    );
    assert_eq!(check["DeregisterCriticalServiceAfter"], "1m5s");
}

#[test]
fn lengths_of_time_are_written_as_go_writes_them() {
    for (millis, text) in [
        (1000, "1s"),
        (2700, "2.7s"),
        (60_000, "1m0s"),
        (65_000, "1m5s"),
        (3_600_000, "1h0m0s"),
        (5_445_025, "1h30m45.025s"),
    ] {
        assert_eq!(go_duration(Duration::from_millis(millis)), text);
    }
    for (ttl, after) in [(5, 65), (59, 65), (60, 65), (90, 95)] {
        assert_eq!(
            reap_after(Duration::from_secs(ttl)),
            Duration::from_secs(after)
        );
    }
}

#[test]
fn consul_gets_the_metadata_that_it_takes_and_the_tags_carry_all() {
    let mut instance = instance();
    for (key, value) in [
        ("zone", "a".to_owned()),
        ("dotted.key", "x".to_owned()),
        ("with/slash", "x".to_owned()),
        ("consul-reserved", "x".to_owned()),
        ("long", "x".repeat(513)),
        (OWNER, "somebody".to_owned()),
    ] {
        instance.node.metadata.insert(key.to_owned(), value);
    }
    for number in 0..58 {
        instance
            .node
            .metadata
            .insert(format!("k{number}"), String::new());
    }
    let definition = definition(&instance);
    assert_eq!(definition.meta["zone"], "a");
    assert_eq!(definition.meta[OWNER], "p-1");
    assert_eq!(definition.meta.len(), 60);
    let said = tags::decode(definition.tags.iter().map(String::as_str));
    assert_eq!(said.node, Some(instance.node.metadata));
}

#[test]
fn only_what_is_the_same_in_everything_is_held() {
    let definition = definition(&instance());
    let held = || Held {
        service: serde_json::from_value(json!({
            "ID": "orders-1", "Service": "orders", "Address": "2001:db8::7", "Port": 8080,
            "Tags": definition.tags, "Meta": {OWNER: "p-77"},
        }))
        .expect("service"),
        check: Some(
            serde_json::from_value(json!({
                "CheckID": "service:orders-1", "Status": "passing", "Notes": definition.check.notes,
            }))
            .expect("check"),
        ),
    };
    assert!(definition.is_held(&held()));
    let pair = |held: &mut Held, key: &str, value: &str| {
        held.service.meta.insert(key.to_owned(), value.to_owned());
    };
    let changes: [&dyn Fn(&mut Held); 7] = [
        &|held| held.service.name.push('x'),
        &|held| held.service.address.push('1'),
        &|held| held.service.port += 1,
        &|held| held.service.tags.push("t".to_owned()),
        &|held| pair(held, "zone", "b"),
        &|held| held.check = None,
        &|held| held.check.iter_mut().for_each(|check| check.notes.clear()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = held();
        change(&mut changed);
        assert!(!definition.is_held(&changed), "change {number}");
    }
    let longer = Definition::new(&instance(), Duration::from_secs(31));
    assert!(!longer.expect("definition").is_held(&held()));
}

#[test]
fn a_service_that_nobody_of_ours_wrote_is_an_instance_too() {
    let entry = entry("web", "m1", "", 1, json!({"zone": "a"}));
    let read = instances(&name("orders"), vec![entry], &SkipLog::new());
    assert_eq!(read[0].node.address.as_str(), "10.9.9.9:80");
    assert_eq!(read[0].version, "");
    assert_eq!(read[0].node.metadata["zone"], "a");
}

#[test]
fn critical_checks_take_out_and_warnings_do_not() {
    for (status, live) in [("critical", false), ("warning", true), ("passing", true)] {
        let mut entry = entry("a", "m1", "10.0.0.1", 1, json!({}));
        entry.checks[0].status = status.to_owned();
        assert_eq!(read(vec![entry]).len(), usize::from(live), "{status}");
    }
}

#[test]
fn a_bad_record_is_skipped_and_hides_no_good_one() {
    let skipped = SkipLog::new();
    let mut bad = entry("bad", "m1", "169.254.169.254", 1, json!({}));
    let mut odd = entry("a\nb", "m1", "10.0.0.1", 1, json!({}));
    let mut other = entry("other", "m1", "10.0.0.1", 1, json!({}));
    other.service.name = "ORDERS".to_owned();
    bad.service.port = 99_999;
    odd.service.tags = vec!["e".to_owned()];
    let good = entry("good", "m1", "10.0.0.1", 1, json!({}));
    let read = instances(&name("orders"), vec![bad, odd, other, good], &skipped);
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].node.id.as_str(), "good");
    assert_eq!(skipped.total(), 2, "{:?}", skipped.recent());
}

#[test]
fn an_instance_that_moved_to_another_agent_is_one() {
    let owned = |process: &str, number| json!({OWNER: owner(process, number).to_string()});
    // One process: the later write counts, however the servers number them.
    let first = entry("a", "m1", "10.0.0.1", 9, owned("p", 1));
    let later = entry("a", "m2", "10.0.0.2", 5, owned("p", 2));
    assert_eq!(read(vec![first, later]), [pair("a", "10.0.0.2")]);
    // A successor elsewhere.
    let first = entry("a", "m1", "10.0.0.1", 5, owned("p", 9));
    let later = entry("a", "m2", "10.0.0.2", 9, owned("q", 1));
    assert_eq!(read(vec![later, first]), [pair("a", "10.0.0.2")]);
    // go-micro's, which has no owner: the address tells.
    let first = entry("a", "m1", "10.0.0.1", 5, json!({}));
    let later = entry("a", "m2", "10.0.0.1", 9, json!({}));
    assert_eq!(read(vec![first, later]), [pair("a", "10.0.0.1")]);
}

#[test]
fn namesakes_on_several_machines_are_all_found() {
    let all = vec![
        entry("web", "m3", "10.0.0.3", 7, json!({})),
        entry("web", "m1", "10.0.0.1", 5, json!({})),
        entry("web", "m2", "10.0.0.2", 6, json!({})),
    ];
    assert!(all[0].is_of("web") && all[0].is_of("web@m3") && !all[0].is_of("web@m1"));
    assert_eq!(
        read(all),
        [
            pair("web", "10.0.0.1"),
            pair("web@m2", "10.0.0.2"),
            pair("web@m3", "10.0.0.3")
        ]
    );
}

#[test]
fn a_namesake_never_gets_the_id_of_another_record() {
    let meta = || Value::Null;
    let entries = vec![
        entry("a", "m1", "10.0.0.1", 1, meta()),
        entry("a", "m2", "10.0.0.2", 2, meta()),
        entry("a@m2", "m3", "10.0.0.3", 3, meta()),
    ];
    let skipped = SkipLog::new();
    let all = instances(&name("orders"), entries, &skipped);
    let ids: Vec<&str> = all.iter().map(|one| one.node.id.as_str()).collect();
    assert_eq!(ids, ["a", "a@m2"]);
    assert_eq!(all[1].node.address.host(), "10.0.0.3");
    assert_eq!(skipped.total(), 1);
    // Nor do two namesakes get the same.
    let all = read(vec![
        entry("a", "m", "10.0.0.1", 1, meta()),
        entry("a", "b@c", "10.0.0.2", 2, meta()),
        entry("a@b", "m", "10.0.0.3", 3, meta()),
        entry("a@b", "c", "10.0.0.4", 4, meta()),
    ]);
    let ids: Vec<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["a", "a@b", "a@b@c"]);
}
