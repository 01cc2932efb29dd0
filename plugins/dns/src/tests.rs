//! What a domain's records mean, on a table of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hickory_resolver::proto::rr::RecordType;
use waypost_core::{ErrorKind, Instance, Result};

use crate::config::{Priorities, Shape};
use crate::fake::{NEGATIVE, Table, orders, record};
use crate::zone::{Told, Zone};

/// `id address key=value …` of each.
fn shown(told: &Told) -> Vec<String> {
    let one = |instance: &Arc<Instance>| {
        let node = &instance.node;
        let mut text = format!("{} {}", node.id, node.address);
        for (key, value) in &node.metadata {
            text += &format!(" {key}={value}");
        }
        text
    };
    told.instances.iter().map(one).collect()
}

async fn read(zone: &Zone) -> Vec<String> {
    shown(&zone.one(&orders()).await.expect("an answer"))
}

const TWO: &[&str] = &[
    "_orders._tcp 60 SRV 10 60 8080 b",
    "_orders._tcp 60 SRV 10 0 8081 a",
    "a 30 A 10.0.0.1",
    "b 90 A 10.0.0.2",
];

#[tokio::test]
async fn targets_are_nodes_with_their_rank() {
    let table = Table::new(TWO);
    let zone = table.zone(Shape::Any, None);
    let told = zone.one(&orders()).await.expect("an answer");
    assert_eq!(
        shown(&told),
        [
            "a.example.org:8081 10.0.0.1:8081 priority=10",
            "b.example.org:8080 10.0.0.2:8080 priority=10 weight=60",
        ]
    );
    assert_eq!(told.ttl, Some(30), "the shortest of all that was heard");
    assert_eq!(
        table.asked.load(Ordering::SeqCst),
        1,
        "addresses came beside the answer"
    );
}

#[tokio::test]
async fn a_reserve_counts_only_when_nobody_else_is_left_or_all_are_wanted() {
    let table = Table::new(&[
        "_orders._tcp 60 SRV 5 0 80 nowhere",
        "_orders._tcp 60 SRV 10 0 80 a",
        "_orders._tcp 60 SRV 20 0 80 b",
        "a 60 A 10.0.0.1",
        "b 60 A 10.0.0.2",
    ]);
    let mut zone = table.zone(Shape::Any, None);
    assert_eq!(
        read(&zone).await,
        ["a.example.org:80 10.0.0.1:80 priority=10"]
    );
    zone.wanted.priorities = Priorities::All;
    assert_eq!(read(&zone).await.len(), 2);
}

#[tokio::test]
async fn a_host_of_both_families_is_one_node_and_one_of_many_addresses_is_many() {
    let table = Table::new(&[
        "_orders._tcp 60 SRV 0 0 80 a",
        "_orders._tcp 60 SRV 0 0 80 b",
        "_orders._tcp 60 SRV 0 0 80 c",
        "a 60 A 10.0.0.1",
        "a 60 AAAA fd00::1",
        "b 60 AAAA fd00::2",
        "c 60 A 10.0.0.4",
        "c 60 A 10.0.0.3",
    ]);
    assert_eq!(
        read(&table.zone(Shape::Any, None)).await,
        [
            "a.example.org:80 10.0.0.1:80",
            "b.example.org:80 [fd00::2]:80",
            "c.example.org:80@10.0.0.3 10.0.0.3:80",
            "c.example.org:80@10.0.0.4 10.0.0.4:80",
        ]
    );
}

#[tokio::test]
async fn addresses_are_nodes_where_a_port_is_given() {
    let table = Table::new(&[
        "orders 60 A 10.0.0.2",
        "orders 60 A 10.0.0.1",
        "orders 60 A 10.0.0.1",
    ]);
    let zone = table.zone(Shape::Any, Some(80));
    assert_eq!(
        read(&zone).await,
        ["10.0.0.1:80 10.0.0.1:80", "10.0.0.2:80 10.0.0.2:80"]
    );
    assert!(read(&table.zone(Shape::Any, None)).await.is_empty());
    assert!(read(&table.zone(Shape::Targets, Some(80))).await.is_empty());
    table.set(&[
        "orders 60 AAAA fd00::1",
        "_orders._tcp 60 SRV 0 0 90 orders",
    ]);
    let zone = table.zone(Shape::Addresses, Some(80));
    assert_eq!(read(&zone).await, ["[fd00::1]:80 [fd00::1]:80"]);
}

const LIST: &[&str] = &[
    "_services._dns-sd._udp 60 PTR _orders._tcp",
    "_services._dns-sd._udp 60 PTR _printer._udp",
    "_services._dns-sd._udp 60 PTR _empty._tcp",
    "_orders._tcp 60 PTR blue._orders._tcp",
    "_orders._tcp 60 PTR green._orders._tcp",
    "blue._orders._tcp 60 SRV 0 0 80 a",
    "blue._orders._tcp 60 TXT version=2 zone=x service.team=t",
    "green._orders._tcp 60 SRV 1 5 81 a",
    "a 60 A 10.0.0.1",
];

#[tokio::test]
async fn a_list_of_instances_tells_names_and_metadata() {
    let table = Table::new(LIST);
    for shape in [Shape::Any, Shape::Listed] {
        let told = table
            .zone(shape, Some(9))
            .one(&orders())
            .await
            .expect("an answer");
        assert_eq!(
            shown(&told),
            [
                "blue 10.0.0.1:80 zone=x",
                "green 10.0.0.1:81 priority=1 weight=5"
            ]
        );
        assert_eq!(told.instances[0].version, "2");
        assert_eq!(told.instances[0].metadata["team"], "t");
        assert_eq!(told.instances[1].version, "latest");
    }
}

#[tokio::test]
async fn a_domain_lists_its_services_or_says_that_it_does_not() {
    let table = Table::new(LIST);
    let zone = table.zone(Shape::Any, None);
    let all = zone.all().await.expect("a list");
    assert_eq!(all.instances.len(), 2);
    assert_eq!(zone.skipped.total(), 0);
    table.set(TWO);
    let error = zone.all().await.expect_err("no list");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .contains("_services._dns-sd._udp.example.org"),
        "{error}"
    );
    // The name is there, and lists nothing.
    table.set(&["_services._dns-sd._udp 60 TXT none"]);
    assert!(zone.all().await.expect("a list").instances.is_empty());
}

#[tokio::test]
async fn what_does_not_exist_is_none_for_as_long_as_the_zone_says() {
    let table = Table::new(&[]);
    for (shape, port) in [
        (Shape::Any, Some(80)),
        (Shape::Targets, None),
        (Shape::Listed, None),
        (Shape::Addresses, Some(80)),
    ] {
        let told = table.zone(shape, port).one(&orders()).await.expect("none");
        assert_eq!(
            (told.instances.len(), told.ttl),
            (0, Some(NEGATIVE)),
            "{shape:?}"
        );
    }
    // A service that is decidedly not to be had.
    table.set(&["_orders._tcp 60 SRV 0 0 0 ."]);
    let zone = table.zone(Shape::Any, Some(80));
    assert!(read(&zone).await.is_empty());
    assert_eq!(zone.skipped.total(), 0);
}

#[tokio::test]
async fn a_question_without_an_answer_fails_the_whole_reading() {
    let lines = [LIST, &["users 60 A 10.0.0.9"]].concat();
    for (shape, kinds) in [
        (
            Shape::Any,
            &[
                RecordType::SRV,
                RecordType::PTR,
                RecordType::TXT,
                RecordType::SOA,
            ][..],
        ),
        (Shape::Addresses, &[RecordType::A]),
    ] {
        for &kind in kinds {
            let table = Table::new(&lines);
            table.fail(kind);
            let result = table.zone(shape, Some(80)).one(&orders()).await;
            let error = result.expect_err("not known");
            assert_eq!(error.kind(), ErrorKind::Timeout, "{kind}");
        }
    }
    // The address of one target of two: half of the nodes would pass for all of them.
    let table = Table::new(&[
        "_orders._tcp 60 SRV 0 0 80 a",
        "_orders._tcp 60 SRV 0 0 80 b",
        "a 60 A 10.0.0.1",
    ]);
    table.fail(RecordType::A);
    assert!(table.zone(Shape::Any, None).one(&orders()).await.is_err());
}

#[tokio::test]
async fn bad_records_are_skipped_and_counted_and_hide_no_good_one() {
    let table = Table::new(&[
        "_orders._tcp 60 SRV 0 0 80 good",
        "_orders._tcp 60 SRV 0 0 80 nowhere",
        "_orders._tcp 60 SRV 0 0 80 metadata",
        "_orders._tcp 60 SRV 0 0 80 zero",
        "_orders._tcp 60 SRV 0 0 80 circle",
        "_orders._tcp 60 SRV 0 0 0 good",
        "good 60 A 10.0.0.1",
        "good 60 A 0.0.0.0",
        "metadata 60 A 169.254.169.254",
        "zero 60 A 0.0.0.0",
        "circle 60 CNAME elcric",
        "elcric 60 CNAME circle",
    ]);
    let zone = table.zone(Shape::Any, None);
    assert_eq!(read(&zone).await, ["good.example.org:80 10.0.0.1:80"]);
    // Port 0 and 0.0.0.0 of the good one, and each other one.
    assert_eq!(zone.skipped.total(), 6, "{:?}", zone.skipped.recent());
    let places: Vec<_> = zone
        .skipped
        .recent()
        .into_iter()
        .map(|one| one.place)
        .collect();
    for bad in ["nowhere", "metadata", "zero", "circle"] {
        assert!(places.contains(&format!("{bad}.example.org")), "{places:?}");
    }
    table.set(&["orders 60 A 169.254.0.1", "orders 60 A 10.0.0.1"]);
    let zone = table.zone(Shape::Addresses, Some(80));
    assert_eq!(read(&zone).await.len(), 1);
    assert_eq!(zone.skipped.total(), 1);
}

#[tokio::test]
async fn bad_instances_of_a_list_are_skipped() {
    let long = format!("long._orders._tcp 60 TXT key={}", "x\r".repeat(20));
    let table = Table::new(&[
        "_services._dns-sd._udp 60 PTR _orders._tcp",
        "_services._dns-sd._udp 60 PTR orders",
        "_orders._tcp 60 PTR blue._orders._tcp",
        "_orders._tcp 60 PTR blue._carts._tcp",
        "_orders._tcp 60 PTR stale._orders._tcp",
        "_orders._tcp 60 PTR long._orders._tcp",
        "blue._orders._tcp 60 SRV 0 0 80 a",
        "blue._carts._tcp 60 SRV 0 0 80 a",
        "long._orders._tcp 60 SRV 0 0 80 a",
        &long,
        "a 60 A 10.0.0.1",
    ]);
    let zone = table.zone(Shape::Any, None);
    assert_eq!(
        shown(&zone.all().await.expect("a list")),
        ["blue 10.0.0.1:80"]
    );
    assert_eq!(zone.skipped.total(), 4, "{:?}", zone.skipped.recent());
}

#[tokio::test]
async fn aliases_are_followed_and_circles_are_no_empty_answer() {
    let table = Table::new(&[
        "_orders._tcp 9 CNAME _real._tcp",
        "_real._tcp 60 SRV 0 0 80 alias",
        "alias 60 CNAME a",
        "a 60 A 10.0.0.1",
    ]);
    let zone = table.zone(Shape::Any, None);
    let told = zone.one(&orders()).await.expect("an answer");
    assert_eq!(shown(&told), ["alias.example.org:80 10.0.0.1:80"]);
    assert_eq!(told.ttl, Some(9));
    table.set(&["_orders._tcp 9 CNAME _orders._tcp"]);
    let error = zone.one(&orders()).await.expect_err("a circle");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(table.asked.load(Ordering::SeqCst) < 20);
}

#[tokio::test]
async fn a_zone_that_changes_while_it_is_read_is_read_again() {
    let before = LIST;
    let after = [
        "_orders._tcp 60 PTR blue._orders._tcp",
        "blue._orders._tcp 60 SRV 0 0 90 b",
        "blue._orders._tcp 60 TXT version=3",
        "b 60 A 10.0.0.2",
    ];
    // Whatever the question at which it changes, nobody sees half of it.
    for turn in 1..12 {
        let table = Table::new(before);
        let records = after.iter().map(|line| record(line)).collect();
        *table.turn.lock().expect("lock") = Some((turn, records));
        let told = table
            .zone(Shape::Any, None)
            .one(&orders())
            .await
            .expect("an answer");
        let seen: Vec<_> = told
            .instances
            .iter()
            .map(|one| format!("{} {} {}", one.node.id, one.version, one.node.address))
            .collect();
        let old = ["blue 2 10.0.0.1:80", "green latest 10.0.0.1:81"];
        assert!(
            seen == old || seen == ["blue 3 10.0.0.2:90"],
            "{turn}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn ten_thousand_records_are_read() -> Result<()> {
    let lines: Vec<String> = (0..10_000)
        .map(|number| format!("_orders._tcp 60 SRV 0 0 {} a", number + 1))
        .collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.push("a 60 A 10.0.0.1");
    let told = Table::new(&lines)
        .zone(Shape::Any, None)
        .one(&orders())
        .await?;
    assert_eq!(told.instances.len(), 10_000);
    Ok(())
}
