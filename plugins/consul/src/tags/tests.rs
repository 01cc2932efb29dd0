use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use waypost_core::{Address, Node, NodeId, ServiceName, Value};

use super::*;

fn instance() -> Instance {
    let node = Node::new(
        NodeId::new("orders-1").expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    Instance::new(ServiceName::new("orders").expect("name"), node)
}

fn tag(kind: &str, content: &[u8]) -> String {
    let mut writer = Writer::new();
    writer.tag(kind, content);
    writer.tags.remove(0)
}

fn said(tags: &[&str]) -> Said {
    decode(tags.iter().copied())
}

fn faults(tags: &[&str]) -> usize {
    said(tags).broken.len()
}

#[test]
fn tags_that_go_micro_wrote_are_read() {
    // From its issues 276 and 104.
    let said = said(&[
        "t-789caa562a294acc2b2ec82f2a51b252ca28292950aa05040000ffff4f930768",
        "t-789caa564a2acacf4e2d52b252ca28292950aa05040000ffff364d0600",
        "t-789caa562a4e2d2a4b2d52b2522a2a4856aa05040000ffff30dd0597",
        "t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
    ]);
    assert_eq!(said.broken, []);
    let pairs = [
        ("broker", "http"),
        ("registry", "consul"),
        ("server", "rpc"),
        ("transport", "http"),
    ];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(said.node, Some(Metadata::from(pairs)));
}

#[test]
fn plain_tags_of_its_first_releases_are_read() {
    let said = said(&[
        r#"t={"transport":"http"}"#,
        r#"t={"broker":"nats","server":null}"#,
        r#"e={"name":"Say.Hello","request":{"name":"R","type":"R","values":null},"metadata":{}}"#,
        "v=1.0.0",
    ]);
    assert_eq!(said.broken, []);
    assert_eq!(said.version.as_deref(), Some("1.0.0"));
    let node = said.node.expect("pairs");
    assert_eq!((node.len(), node["broker"].as_str()), (3, "nats"));
    assert_eq!(said.endpoints[0].name, "Say.Hello");
}

#[test]
fn the_first_encoding_of_a_kind_holds_for_the_kind() {
    let packed = tag("v-", b"2.0.0");
    assert_eq!(
        said(&["v=1.0.0", &packed]).version.as_deref(),
        Some("1.0.0")
    );
    assert_eq!(
        said(&[&packed, "v=1.0.0"]).version.as_deref(),
        Some("2.0.0")
    );
    // A broken tag decides nothing.
    let after = said(&["v-zz", "v=1.0.0"]);
    assert_eq!(after.version.as_deref(), Some("1.0.0"));
}

#[test]
fn broken_tags_are_passed_over_and_named() {
    let json = tag("e-", b"{\"name\":");
    let deep = tag("e-", "{\"request\":".repeat(10_000).as_bytes());
    let list = tag("t-", b"[]");
    let no_text = tag("v-", b"\xff\xfe");
    let whole = tag("v-", b"1.0.0");
    let cut = &whole[..whole.len() - 12];
    for broken in [
        "e",
        "t",
        "v",
        "m",
        "e-",
        "t-",
        "v-",
        "e-zz",
        "e-zzz",
        "e-789",
        "e-é1",
        "e=",
        "e=[",
        "t={",
        "e={bad json}",
        "t=7",
        "t={\"k\":7}",
        "e-00",
        &json,
        &deep,
        &list,
        &no_text,
        cut,
    ] {
        let said = said(&[broken, &whole]);
        assert_eq!(said.version.as_deref(), Some("1.0.0"), "{broken:?}");
        assert_eq!(said.broken.len(), 1, "{broken:?}");
        assert!(said.endpoints.is_empty(), "{broken:?}");
    }
}

#[test]
fn tags_of_others_are_none_of_ours() {
    let tags = [
        "",
        "prod",
        "east",
        "test",
        "v1",
        "m",
        "traefik.enable=true",
        "é-",
        "eé",
        "T-00",
    ];
    assert_eq!(faults(&tags), 1, "only `m` alone looks like one of ours");
}

/// That many MiB of zeros in two thousandths of it: one MiB, packed once, over and over again. The
/// checksum behind them is missed by nobody who stops before.
fn zeros(mebibytes: usize) -> Vec<u8> {
    let (mut packed, zeros) = (Vec::with_capacity(1 << 16), vec![0; 1 << 20]);
    let mut compress = Compress::new(Compression::best(), false);
    compress
        .compress_vec(&zeros, &mut packed, FlushCompress::Full)
        .expect("room for all of it");
    assert_eq!(compress.total_in(), 1 << 20);
    [&[0x78, 0xda][..], &packed.repeat(mebibytes)].concat()
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let packed = zeros(286);
    let digits: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(digits.len() > 500_000, "{}", digits.len());
    let bomb = format!("e-{digits}");
    let version = tag("v-", b"1.0.0");
    let mut tags = vec![version.as_str()];
    tags.extend(std::iter::repeat_n(bomb.as_str(), 100));
    // The quickest of several: on a busy machine each may be made to wait.
    let timed = || {
        let before = SystemTime::now();
        let said = said(&tags);
        (before.elapsed().unwrap_or_default(), said)
    };
    let quickest = (0..20).map(|_| timed()).min_by_key(|(took, _)| *took);
    let (took, said) = quickest.expect("twenty");
    assert_eq!(said.version.as_deref(), Some("1.0.0"));
    assert_eq!(said.broken.len(), 100);
    assert!(
        said.broken[0].1.contains("inflates beyond"),
        "{:?}",
        said.broken[0]
    );
    assert!(took < Duration::from_millis(50), "{took:?}");
    let mut inflater = Inflater::default();
    assert!(inflater.inflate(&digits).is_err());
    assert_eq!(inflater.work, 0);
}

#[test]
fn a_bomb_hides_no_plain_tag() {
    let digits: String = zeros(2).iter().map(|byte| format!("{byte:02x}")).collect();
    let bomb = format!("e-{digits}");
    let said = said(&[bomb.as_str(), "v=1", bomb.as_str(), r#"t={"a":"b"}"#]);
    assert_eq!(said.version.as_deref(), Some("1"));
    assert_eq!(said.node.map(|pairs| pairs.len()), Some(1));
    assert_eq!(said.broken.len(), 2);
}

#[test]
fn what_fits_exactly_is_read() {
    let content = vec![b'1'; MAX_INFLATED];
    let whole = tag("v-", &content);
    assert_eq!(
        said(&[&whole]).version.map(|text| text.len()),
        Some(MAX_INFLATED)
    );
    let more = tag("v-", &[content, vec![b'1']].concat());
    assert_eq!(faults(&[&more]), 1);
    let plain = "1".repeat(MAX_INFLATED);
    assert_eq!(faults(&[&format!("v={plain}")]), 0);
    assert_eq!(faults(&[&format!("v={plain}1")]), 1);
    assert_eq!(faults(&[&format!("v={plain}"), "t={}"]), 1);
}

#[test]
fn what_does_not_compress_is_written_whole() {
    let mut noise = vec![0; MAX_INFLATED / 2];
    let mut state = 1u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Printable, so that it is a text.
        *byte = 32 + (state >> 24) as u8 % 90;
    }
    let whole = tag("v-", &noise);
    let read = said(&[&whole]).version.expect("a version");
    assert_eq!(read.as_bytes(), noise);
    let mut inflater = Inflater::default();
    for byte in &mut noise {
        *byte ^= (state >> 13) as u8;
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    }
    let packed = tag("v-", &noise);
    assert_eq!(inflater.inflate(&packed[2..]).as_ref(), Ok(&noise));
}

#[test]
fn more_than_a_reader_takes_is_not_written() {
    let mut instance = instance();
    for number in 0..70 {
        instance = instance.with_metadata(format!("k{number}"), "x".repeat(4000));
    }
    assert!(encode(&instance).expect_err("too large") > MAX_INFLATED);
}

fn any_instance() -> impl Strategy<Value = Instance> {
    let map = || prop::collection::btree_map("[a-z.é]{1,8}", ".{0,20}", 0..4);
    let endpoint = ("[A-Za-z.]{1,12}", map(), prop::option::of("[a-z]{0,5}")).prop_map(
        |(name, metadata, field)| Endpoint {
            name,
            request: field.map(|kind| Value {
                name: "Request".to_owned(),
                kind,
                values: vec![Value::default()],
            }),
            response: None,
            metadata,
        },
    );
    let endpoints = prop::collection::vec(endpoint, 0..3);
    ("[a-z0-9.é]{0,12}", map(), map(), endpoints).prop_map(|(version, node, service, endpoints)| {
        let mut instance = instance().with_version(version);
        instance.node.metadata = node;
        instance.metadata = service;
        instance.endpoints = endpoints;
        instance
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(instance in any_instance()) {
        let tags = encode(&instance).expect("small");
        prop_assert!(tags.iter().all(|tag| tag.is_ascii()));
        let said = decode(tags.iter().map(String::as_str));
        prop_assert_eq!(said, Said {
            version: Some(instance.version.clone()),
            node: Some(instance.node.metadata.clone()).filter(|node| !node.is_empty()),
            service: instance.metadata.clone(),
            endpoints: instance.endpoints.clone(),
            broken: Vec::new(),
        });
    }

    #[test]
    fn any_tag_is_read_or_named(tag in "[tevm]?[-=]?.{0,40}", digits in "[0-9a-f]{0,80}") {
        let packed = format!("t-789c{digits}");
        prop_assert!(faults(&[&tag, &packed]) <= 2);
    }
}
