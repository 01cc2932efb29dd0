use proptest::prelude::*;

use super::*;

/// As go-micro v4 writes it.
const RECORD: &str = r#"{"name":"go.micro.server","version":"latest","metadata":null,"endpoints":[{"name":"Say.Hello","request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"Response","type":"Response","values":[{"name":"msg","type":"string","values":null}]},"metadata":{}}],"nodes":[{"id":"go.micro.server-707c1d61","address":"192.168.0.107:9090","metadata":{"protocol":"grpc","registry":"etcd"}}]}"#;

fn one(json: &str) -> Instance {
    let mut all = decode(json.as_bytes()).expect(json);
    assert_eq!(all.len(), 1, "{json}");
    all.remove(0)
}

fn reason(bytes: &[u8]) -> String {
    decode(bytes).expect_err("a bad record")
}

#[test]
fn a_go_micro_record_is_read_and_written_alike() {
    let instance = one(RECORD);
    assert_eq!(instance.service.as_str(), "go.micro.server");
    assert_eq!(instance.version, "latest");
    assert_eq!(instance.node.address.as_str(), "192.168.0.107:9090");
    assert_eq!(instance.node.metadata["protocol"], "grpc");
    assert_eq!(instance.endpoints[0].name, "Say.Hello");
    let request = instance.endpoints[0].request.as_ref().expect("request");
    assert_eq!(request.values[0].kind, "string");
    let written = String::from_utf8(encode(&instance)).expect("utf-8");
    assert_eq!(
        written,
        RECORD.replace(r#""metadata":{}"#, r#""metadata":null"#)
    );
}

#[test]
fn keys_may_have_any_case_and_fields_may_be_null_missing_or_unknown() {
    let plain = one(r#"{"name":"a","nodes":[{"id":"n","address":"10.0.0.1:80"}]}"#);
    for same in [
        r#"{"Name":"a","NODES":[{"Id":"n","Address":"10.0.0.1:80","Metadata":null}]}"#,
        r#"{"name":"a","version":null,"endpoints":null,"metadata":null,"nodes":[{"id":"n","address":"10.0.0.1:80"}]}"#,
        r#" {"name":"a","domain":{"x":[1,2.5,null]},"nodes":[{"id":"n","address":"10.0.0.1:80","weight":1}]} "#,
    ] {
        assert_eq!(one(same), plain, "{same}");
    }
    assert_eq!(plain.version, "");
}

#[test]
fn of_a_key_that_metadata_has_twice_the_last_value_counts() {
    let twice = r#"{"name":"a","metadata":{"k":1,"k":"x"},"nodes":[{"id":"n","address":"h:1"}]}"#;
    assert_eq!(one(twice).metadata["k"], "x");
}

#[test]
fn the_port_of_old_records_is_joined_to_the_host() {
    for (address, port, expected) in [
        ("10.0.0.1", "8080", "10.0.0.1:8080"),
        ("::1", "8080", "[::1]:8080"),
        ("[::1]", "8080", "[::1]:8080"),
        ("10.0.0.1:80", "8080", "10.0.0.1:80"),
        ("10.0.0.1:80", "0", "10.0.0.1:80"),
        ("10.0.0.1:80", "null", "10.0.0.1:80"),
    ] {
        let json =
            format!(r#"{{"name":"a","nodes":[{{"id":"n","address":"{address}","port":{port}}}]}}"#);
        assert_eq!(one(&json).node.address.as_str(), expected);
    }
}

#[test]
fn every_node_of_a_shared_record_is_an_instance() {
    let json = r#"{"name":"a","version":"2","nodes":[{"id":"n","address":"h:1"},{"id":"m","address":"h:2"}]}"#;
    let all = decode(json.as_bytes()).expect("record");
    let ids: Vec<_> = all
        .iter()
        .map(|instance| instance.node.id.as_str())
        .collect();
    assert_eq!(ids, ["n", "m"]);
    assert!(all.iter().all(|instance| instance.version == "2"));
    let second = decode_record("a", "m", json.as_bytes()).expect("m");
    assert_eq!(second.node.id.as_str(), "m");
}

#[test]
fn a_record_grows_with_its_nodes_and_not_with_their_square() {
    let record = |pairs: usize, nodes: usize| {
        let metadata: String = (0..pairs)
            .map(|n| format!(r#","k{n}":"{}""#, "x".repeat(4000)))
            .collect();
        let nodes: String = (0..nodes)
            .map(|n| format!(r#",{{"id":"n{n}","address":"h:1"}}"#))
            .collect();
        format!(
            r#"{{"name":"a","metadata":{{{}}},"nodes":[{}]}}"#,
            metadata.trim_start_matches(','),
            nodes.trim_start_matches(',')
        )
    };
    let many = decode(record(0, 5000).as_bytes()).expect("small nodes");
    assert_eq!(many.len(), 5000);
    assert!(decode(record(30, 20).as_bytes()).is_ok());
    // A quarter of a megabyte that would take half a gigabyte.
    let bomb = record(30, 4000);
    assert!(bomb.len() < MAX_RECORD);
    assert!(reason(bomb.as_bytes()).contains("4000 nodes"));
}

#[test]
fn bad_records_are_refused_with_their_rule() {
    let deep = "[".repeat(10_000);
    let large = format!("\"{}\"", "x".repeat(1_500_000));
    let crowded: String = (0..65).map(|n| format!("\"k{n}\":\"\",")).collect();
    let crowded = format!(
        r#"{{"name":"a","metadata":{{{}}},"nodes":[{{"id":"n","address":"h:1"}}]}}"#,
        crowded.trim_end_matches(',')
    );
    for (bytes, needle) in [
        (&b""[..], "is empty"),
        (b"null", "is no JSON object"),
        (b"[]", "is no JSON object"),
        (b"\"text\"", "is no JSON object"),
        (b"{}", "service name"),
        (b"NaN", "is no JSON"),
        (b"{\"name\":1e999}", "is no JSON"),
        (b"{\"name\":\"\xff\"}", "is no JSON"),
        (b"\xEF\xBB\xBF{}", "byte order mark"),
        (deep.as_bytes(), "nested deeper than 32"),
        (large.as_bytes(), "has 1500002 bytes; at most 262144"),
        (crowded.as_bytes(), "65 pairs; at most 64"),
        (br#"{"name":7}"#, "`name` is no text"),
        (br#"{"name":"../x"}"#, "path segment"),
        (br#"{"name":"a","nodes":{}}"#, "`nodes` is no list"),
        (
            br#"{"name":"a","nodes":[null]}"#,
            "a node is no JSON object",
        ),
        (
            br#"{"name":"a","nodes":[{"id":"","address":"h:1"}]}"#,
            "node id",
        ),
        (
            br#"{"name":"a","nodes":[{"id":"n","address":"h"}]}"#,
            "has no port",
        ),
        (
            br#"{"name":"a","nodes":[{"id":"n","address":"169.254.169.254:80"}]}"#,
            "link-local",
        ),
        (
            br#"{"name":"a","nodes":[{"id":"n","address":"h:1","metadata":{"k":1}}]}"#,
            "\"k\" is no text",
        ),
    ] {
        let reason = reason(bytes);
        assert!(reason.contains(needle), "{reason}");
        assert!(reason.len() < 200, "{reason}");
    }
}

#[test]
fn the_key_is_the_authority() {
    let named = |name: &str, id: &str| {
        format!(r#"{{"name":"{name}","nodes":[{{"id":"{id}","address":"h:1"}}]}}"#)
    };
    assert!(decode_record("a", "n", named("a", "n").as_bytes()).is_ok());
    assert!(decode_record("a-b", "n", named("a/b", "n").as_bytes()).is_ok());
    for (name, id) in [("b", "n"), ("a", "m"), ("A", "n")] {
        assert!(
            decode_record("a", "n", named(name, id).as_bytes()).is_err(),
            "{name}/{id}"
        );
    }
    let twice = r#"{"name":"a","nodes":[{"id":"n","address":"h:1"},{"id":"n","address":"h:2"}]}"#;
    assert!(decode_record("a", "n", twice.as_bytes()).is_err());
    assert!(decode_record("a", "n", br#"{"name":"a","nodes":null}"#).is_err());
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let mut instance = one(RECORD);
    assert!(checked(&instance).is_ok());
    for n in 0..100 {
        let mut endpoint = Endpoint::new(format!("E{n}"));
        endpoint.metadata.insert("k".to_owned(), "x".repeat(4000));
        instance.endpoints.push(endpoint);
    }
    let error = checked(&instance).expect_err("large").to_string();
    assert!(error.contains("at most 262144"), "{error}");

    let mut nested = Value::default();
    for _ in 0..40 {
        nested = Value {
            values: vec![nested],
            ..Value::default()
        };
    }
    instance.endpoints = vec![Endpoint {
        request: Some(nested),
        ..Endpoint::new("E")
    }];
    let error = checked(&instance).expect_err("deep").to_string();
    assert!(error.contains("nested deeper than 32"), "{error}");
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    prop::collection::btree_map("[a-zA-Z0-9._\"\\\\ é-]{1,12}", "\\PC{0,20}", 0..4)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = ("\\PC{0,8}", "\\PC{0,8}").prop_map(|(name, kind)| Value {
        name,
        kind,
        values: Vec::new(),
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        ("\\PC{0,8}", prop::collection::vec(inner, 0..3)).prop_map(|(name, values)| Value {
            name,
            kind: "x".to_owned(),
            values,
        })
    })
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    (
        "\\PC{0,12}",
        prop::option::of(any_value()),
        prop::option::of(any_value()),
        any_metadata(),
    )
        .prop_map(|(name, request, response, metadata)| Endpoint {
            name,
            request,
            response,
            metadata,
        })
}

prop_compose! {
    fn any_instance()(
        service in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,20}",
        id in "[!-.0-\\[\\]-~]{3,40}",
        port in 1..=u16::MAX,
        version in "\\PC{0,20}",
        metadata in any_metadata(),
        node_metadata in any_metadata(),
        endpoints in prop::collection::vec(any_endpoint(), 0..3),
    ) -> Instance {
        let node = Node {
            id: NodeId::new(&id).expect("id"),
            address: Address::new(&format!("10.0.0.1:{port}")).expect("address"),
            metadata: node_metadata,
        };
        let mut instance = Instance::new(ServiceName::new(&service).expect("name"), node);
        instance.version = version;
        instance.metadata = metadata;
        instance.endpoints = endpoints;
        instance
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(instance in any_instance()) {
        let bytes = checked(&instance).expect("valid");
        let read = decode_record(instance.service.as_str(), instance.node.id.as_str(), &bytes);
        prop_assert_eq!(read, Ok(instance));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_record_is_read_or_refused(
        at in 0..RECORD.len(), byte in any::<u8>(), cut in 0..RECORD.len(),
    ) {
        let mut bytes = RECORD.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.remove(cut);
        let _ = decode(&bytes);
    }

    #[test]
    fn an_endpoint_on_its_own_is_read_back(endpoint in any_endpoint()) {
        let bytes = serde_json::to_vec(&endpoint).expect("json");
        prop_assert_eq!(decode_endpoint(&bytes), Ok(endpoint));
    }

    #[test]
    fn anything_nested_is_read_or_refused(text in "[\\[\\]{}\",:0-9a-z\\\\]{0,120}") {
        let _ = decode(text.as_bytes());
        let _ = decode_endpoint(text.as_bytes());
        let _ = decode(format!(r#"{{"name":"a","nodes":{text}}}"#).as_bytes());
    }
}
