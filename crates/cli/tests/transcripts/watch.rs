//! What `watch` tells.

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::house::{House, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "watch",
        &[
            (
                "every_change_is_one_line_of_json",
                every_change_is_one_line_of_json,
            ),
            ("a_name_narrows_it", a_name_narrows_it),
            (
                "an_interrupt_ends_it_with_its_code",
                an_interrupt_ends_it_with_its_code,
            ),
            ("people_get_readable_lines", people_get_readable_lines),
        ],
    )
}

fn parsed(line: &str) -> Value {
    let json: Value = serde_json::from_str(line).expect(line);
    let at = json["at"].as_str().expect("at");
    assert!(
        at.len() == 24 && at.ends_with('Z') && at.contains('T'),
        "{at}"
    );
    json
}

fn every_change_is_one_line_of_json() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let watch = house.start(&["watch", "-o", "json"]);
    let snapshot = watch.line();
    assert!(
        snapshot.starts_with(r#"{"action":"snapshot","services":[{"name":"orders","version""#),
        "{snapshot}"
    );
    assert_eq!(
        parsed(&snapshot)["services"][0]["nodes"][0]["id"],
        "orders-1"
    );

    house.register(&service("orders", 2), "60s");
    let created = watch.line();
    assert!(
        created.starts_with(r#"{"action":"create","service":{"name":"orders""#),
        "{created}"
    );
    assert_eq!(parsed(&created)["service"]["nodes"][0]["id"], "orders-2");

    house.register(&service("orders", 2).replace("9002", "9003"), "60s");
    let updated = parsed(&watch.line());
    assert_eq!(updated["action"], "update");
    assert_eq!(updated["service"]["nodes"][0]["address"], "127.0.0.1:9003");

    assert_eq!(house.run(&["deregister", "orders", "orders-2"]).code, 0);
    let deleted = parsed(&watch.line());
    assert_eq!(deleted["action"], "delete");
    assert_eq!(deleted["service"]["name"], "orders");
    assert_eq!(deleted["service"]["nodes"][0]["id"], "orders-2");
    assert_eq!(deleted["service"]["nodes"][0]["address"], "127.0.0.1:9003");
}

fn a_name_narrows_it() {
    let house = House::new();
    let watch = house.start(&["watch", "users", "-o", "json"]);
    assert_eq!(parsed(&watch.line())["services"], Value::Array(Vec::new()));
    house.register(&service("orders", 1), "60s");
    house.register(&service("users", 2), "60s");
    assert_eq!(parsed(&watch.line())["service"]["name"], "users");
}

fn an_interrupt_ends_it_with_its_code() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let house = House::new();
        let mut watch = house.start(&["watch", "-o", "json"]);
        watch.line();
        watch.signal(signal);
        assert_eq!(watch.end(), code);
    }
}

fn people_get_readable_lines() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let watch = house.start(&["watch"]);
    assert!(
        watch
            .line()
            .ends_with("snapshot  orders/orders-1  127.0.0.1:9001  1.0.1")
    );
    house.register(&service("users", 2), "60s");
    let line = watch.line();
    assert!(
        line.ends_with("create    users/users-2  127.0.0.1:9002  1.0.2"),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "{line}");
    let names = house.start(&["watch", "-o", "name"]);
    assert_eq!(names.line(), "snapshot orders/orders-1");
}
