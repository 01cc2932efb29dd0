//! go-micro's layout, in both directions.

use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};
use waypost_core::{Endpoint, Metadata, Registry, WatchScope};
use waypost_testkit::containers::CONSUL;
use waypost_testkit::{Kept, laws};

use crate::support::{Raw, instance, name, open, register, shared, snapshot, until, watch};

laws! {
    what_we_register_is_in_go_micros_layout,
    what_go_micro_registers_is_read,
    broken_tags_hide_nothing,
    what_consul_takes_and_no_rule_allows_hides_nothing,
    metadata_that_consul_refuses_costs_no_registration,
    an_unchanged_record_is_not_written_again,
}

async fn what_we_register_is_in_go_micros_layout() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let mut one = instance("layout", 1).with_metadata("team", "blue");
    one.node = one
        .node
        .with_metadata("protocol", "grpc")
        .with_metadata("zone", "a");
    let mut endpoint = Endpoint::new("Say.Hello");
    endpoint
        .metadata
        .insert("stream".to_owned(), "true".to_owned());
    one = one.with_endpoint(endpoint.clone());
    let lease = register(&*registry, &one).await;
    let raw = Raw::new(&address, "");
    let all = raw.get("health/service/layout").await;
    let service = &all[0]["Service"];
    assert_eq!(service["ID"], "layout-1");
    assert_eq!(service["Service"], "layout");
    assert_eq!(
        (&service["Address"], &service["Port"]),
        (&json!("10.0.0.1"), &json!(8080))
    );
    let meta = service["Meta"].as_object().expect("metadata");
    assert_eq!(
        (&meta["protocol"], &meta["zone"], meta.len()),
        (&json!("grpc"), &json!("a"), 3)
    );
    let tags: Vec<(String, String)> = service["Tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|tag| unpack(tag.as_str().expect("text")))
        .collect();
    let tag = |kind: &str, content: String| (kind.to_owned(), content);
    assert_eq!(
        tags,
        [
            tag("t-", r#"{"protocol":"grpc"}"#.to_owned()),
            tag("t-", r#"{"zone":"a"}"#.to_owned()),
            tag("e-", json!(endpoint).to_string()),
            tag("v-", "1.0.0".to_owned()),
            tag("m-", r#"{"team":"blue"}"#.to_owned()),
        ]
        .map(|(kind, content)| match kind.as_str() {
            // The order of keys is no part of JSON.
            "e-" => (kind, tags[2].1.clone()),
            _ => (kind, content),
        })
    );
    let written: Value = serde_json::from_str(&tags[2].1).expect("JSON");
    assert_eq!(written, json!(endpoint));
    let checks = all[0]["Checks"].as_array().expect("checks");
    let ours = checks
        .iter()
        .find(|check| check["CheckID"] == "service:layout-1");
    let ours = ours.expect("the check that go-micro passes");
    assert_eq!(
        (&ours["Status"], &ours["Type"]),
        (&json!("passing"), &json!("ttl"))
    );
    assert_eq!(
        registry.lookup(&name("layout")).await.expect("found"),
        [one]
    );
    lease.revoke().await.expect("revoked");
    Ok(())
}

/// A tag of go-micro, decoded by other means than the plugin's.
fn unpack(tag: &str) -> (String, String) {
    use std::io::Read as _;
    let (kind, digits) = tag.split_at(2);
    assert_eq!(digits, digits.to_lowercase());
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect();
    let mut content = String::new();
    let mut decoder = flate2::read::ZlibDecoder::new(bytes.as_slice());
    decoder.read_to_string(&mut content).expect("zlib");
    (kind.to_owned(), content)
}

async fn what_go_micro_registers_is_read() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let raw = Raw::new(&address, "");
    // As its releases up to 0.x did, as those after them do (tags of its issues 276 and 104), and
    // as anybody does who knows nothing of it.
    let plain = json!({
        "ID": "gm-1", "Name": "gm", "Address": "10.0.0.1", "Port": 9090,
        "Tags": ["t={\"transport\":\"http\"}", "e={\"name\":\"Say.Hello\",\"metadata\":{}}", "v=1.0"],
    });
    let packed = json!({
        "ID": "gm-2", "Name": "gm", "Address": "10.0.0.2", "Port": 9090,
        "Tags": [
            "t-789caa562a294acc2b2ec82f2a51b252ca28292950aa05040000ffff4f930768",
            "t-789caa564a2acacf4e2d52b252ca28292950aa05040000ffff364d0600",
        ],
        "Check": {"CheckID": "service:gm-2", "TTL": "1m0s", "Status": "passing"},
    });
    let bare =
        json!({"ID": "gm-3", "Name": "gm", "Port": 80, "Meta": {"zone": "b"}, "Tags": ["prod"]});
    for body in [plain, packed, bare] {
        raw.put("agent/service/register", body).await;
    }
    let gm = name("gm");
    let three = async || registry.lookup(&gm).await.is_ok_and(|all| all.len() == 3);
    until("three instances", three).await;
    let all = registry.lookup(&gm).await.expect("found");
    let metadata = |pairs: &[(&str, &str)]| -> Metadata {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    assert_eq!(all[0].version, "1.0");
    assert_eq!(all[0].endpoints, [Endpoint::new("Say.Hello")]);
    assert_eq!(all[0].node.metadata, metadata(&[("transport", "http")]));
    assert_eq!(
        all[1].node.metadata,
        metadata(&[("broker", "http"), ("transport", "http")])
    );
    assert_eq!(all[2].version, "");
    assert_eq!(all[2].node.metadata, metadata(&[("zone", "b")]));
    assert_eq!(all[2].node.address.port(), 80);
    let services = registry.services().await.expect("services");
    assert!(services.contains(&gm), "{services:?}");
    assert!(services.iter().all(|service| service.as_str() != "consul"));
    for one in &all {
        registry.deregister(&one.key()).await.expect("deregistered");
    }
    assert_eq!(registry.lookup(&gm).await.expect("none"), []);
    Ok(())
}

async fn broken_tags_hide_nothing() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let raw = Raw::new(&address, "");
    let tags = [
        "e", "t", "v", "e-", "t-", "e-zz", "e-789", "e={", "t=[]", "e-00", "v=2.0.0",
    ];
    let body = json!({"ID": "bt-1", "Name": "bt", "Address": "10.0.0.1", "Port": 1, "Tags": tags});
    raw.put("agent/service/register", body).await;
    let bt = name("bt");
    let found = async || registry.lookup(&bt).await.is_ok_and(|all| all.len() == 1);
    until("the record", found).await;
    let before = registry.skipped().total();
    let all = registry.lookup(&bt).await.expect("found");
    assert_eq!(all[0].version, "2.0.0");
    assert!(all[0].endpoints.is_empty() && all[0].node.metadata.is_empty());
    assert_eq!(
        registry.skipped().total() - before,
        10,
        "{:?}",
        registry.skipped().recent()
    );
    let named = registry.skipped().recent();
    assert!(
        named
            .iter()
            .any(|one| one.place.contains("bt-1") && one.place.contains("e-zz"))
    );
    registry
        .deregister(&all[0].key())
        .await
        .expect("deregistered");
    Ok(())
}

async fn what_consul_takes_and_no_rule_allows_hides_nothing() -> Kept {
    let agent = crate::support::own_agent(&CONSUL, "").await?;
    let registry = open(&format!("consul://{}", agent.address())).await;
    let raw = Raw::new(&agent.address(), "");
    let good = instance("good", 1);
    let _lease = register(&*registry, &good).await;
    let long = "x".repeat(300);
    for name in ["a\r\nX: y", "nul\0", "..", ".", "x ", "a/../b", &long] {
        let body = json!({"ID": "bad-name", "Name": name, "Address": "10.0.0.1", "Port": 1});
        raw.put("agent/service/register", body).await;
        assert_eq!(found(&*registry).await, ["good"], "{name:?}");
    }
    for (id, address, port) in [
        ("id\r\nX: y", "10.0.0.1", 1),
        ("bad-port", "10.0.0.1", 0),
        ("no-port", "10.0.0.1", -1),
        ("metadata", "169.254.169.254", 80),
        ("metadata-hex", "0xa9fea9fe", 80),
        ("url", "http://x", 80),
    ] {
        let body = json!({"ID": id, "Name": "good", "Address": address, "Port": port});
        raw.put("agent/service/register", body).await;
    }
    let tags = ["v=2.0.0".to_owned(), bomb()];
    let body = json!({"ID": "b-1", "Name": "bomb", "Address": "10.0.0.1", "Port": 1, "Tags": tags});
    raw.put("agent/service/register", body).await;
    let both = async || found(&*registry).await == ["bomb", "good"];
    until("the bomb's record", both).await;
    let bomb = registry.lookup(&name("bomb")).await.expect("found");
    assert_eq!((bomb.len(), bomb[0].version.as_str()), (1, "2.0.0"));
    assert_eq!(registry.lookup(&name("good")).await.expect("found"), [good]);
    for one in registry.skipped().recent() {
        assert!(!one.reason.contains(char::is_control), "{one:?}");
    }
    Ok(())
}

/// The services that are listed, and that a watch of all begins with.
async fn found(registry: &dyn Registry) -> Vec<String> {
    let listed = registry.services().await.expect("services");
    let mut watcher = watch(registry, WatchScope::All).await;
    let mut watched: Vec<String> = snapshot(&mut watcher)
        .await
        .iter()
        .map(|one| one.service.to_string())
        .collect();
    watched.sort();
    watched.dedup();
    assert_eq!(
        listed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        watched
    );
    watched
}

/// A tag of 583 KB that stands for 300 MB: one MiB, packed once, over and over again.
fn bomb() -> String {
    let (mut packed, zeros) = (Vec::with_capacity(1 << 16), vec![0; 1 << 20]);
    let mut compress = Compress::new(Compression::best(), false);
    compress
        .compress_vec(&zeros, &mut packed, FlushCompress::Full)
        .expect("room for all of it");
    let all = [&[0x78, 0xda][..], &packed.repeat(286)].concat();
    let digits = all.iter().map(|byte| format!("{byte:02x}"));
    format!("e-{}", digits.collect::<String>())
}

async fn metadata_that_consul_refuses_costs_no_registration() -> Kept {
    let address = shared().await?;
    let registry = open(&format!("consul://{address}")).await;
    let mut one = instance("odd", 1);
    for (key, value) in [
        ("dotted.key", "x".to_owned()),
        ("with/slash", "x".to_owned()),
        ("consul-reserved", "x".to_owned()),
        ("waypost-owner", "somebody".to_owned()),
        ("long", "x".repeat(4000)),
        ("ünï", "ü".to_owned()),
        ("limit", "ü".repeat(256)),
        ("empty", String::new()),
    ] {
        one.node = one.node.with_metadata(key, value);
    }
    one.node = one.node.with_metadata("k".repeat(128), "x");
    for number in one.node.metadata.len()..64 {
        one.node = one.node.with_metadata(format!("k{number}"), "x");
    }
    let lease = register(&*registry, &one).await;
    assert_eq!(registry.lookup(&name("odd")).await.expect("found"), [one]);
    lease.revoke().await.expect("revoked");
    Ok(())
}

async fn an_unchanged_record_is_not_written_again() -> Kept {
    let agent = crate::support::own_agent(&CONSUL, "").await?;
    let registry = open(&format!("consul://{}", agent.address())).await;
    let raw = Raw::new(&agent.address(), "");
    let index = async || raw.get("health/service/same").await[0]["Service"]["ModifyIndex"].clone();
    let one = instance("same", 1);
    let mut lease = register(&*registry, &one).await;
    let before = (index().await, raw.get("health/state/any").await);
    for _ in 0..3 {
        lease.renew().await.expect("renewed");
        lease.update(&one).await.expect("unchanged");
        lease = register(&*registry, &one).await;
    }
    assert_eq!((index().await, raw.get("health/state/any").await), before);
    // Every field counts, the address alone too.
    let mut moved = one.clone();
    moved.node.address = waypost_core::Address::new("10.0.0.2:8080").expect("address");
    lease.update(&moved).await.expect("updated");
    assert_ne!(index().await, before.0);
    assert_ne!(
        raw.get("health/state/any").await,
        before.1,
        "watches of all would miss it"
    );
    Ok(())
}
