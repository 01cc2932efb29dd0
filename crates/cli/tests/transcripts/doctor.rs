//! What `doctor` finds.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::house::{Done, House, done, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "doctor",
        &[
            ("a_sound_set_up_is_all_ticks", a_sound_set_up_is_all_ticks),
            (
                "doubtful_records_are_warned_of",
                doubtful_records_are_warned_of,
            ),
            ("a_wrong_timing_fails", a_wrong_timing_fails),
            (
                "nothing_is_written_when_asked_not_to",
                nothing_is_written_when_asked_not_to,
            ),
        ],
    )
}

fn status(done: &Done, name: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks").iter();
    let found = checks.filter(|check| check["name"] == name);
    found
        .map(|check| check["status"].as_str().expect("status").to_owned())
        .collect()
}

fn a_sound_set_up_is_all_ticks() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let done = house.run(&["doctor"]);
    assert_eq!(done.code, 0, "{done:?}");
    for needle in [
        "configuration\n",
        "registry\n",
        "✔ reachable",
        "1 services, 1 nodes",
        "✔ round trip",
    ] {
        assert!(done.stdout.contains(needle), "{needle} in {}", done.stdout);
    }
    assert!(
        !done.stdout.contains('!') && !done.stdout.contains('✘'),
        "{}",
        done.stdout
    );
    let left = house.run(&["services", "-o", "name"]).stdout;
    assert_eq!(left, "orders\n", "the round trip leaves nothing behind");
}

fn doubtful_records_are_warned_of() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    house.register(&service("orders", 2).replace("9002", "9001"), "60s");
    let done = house.run(&["doctor", "-o", "json"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(status(&done, "shared addresses"), ["warning"]);
    assert_eq!(status(&done, "duplicate ids"), ["ok"]);
}

fn a_wrong_timing_fails() {
    let house = House::new();
    let done = house.run(&["doctor", "-o", "json", "--register_interval=30s"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert_eq!(status(&done, "ttl and interval"), ["failed"]);
    let done = house.run(&["doctor", "-o", "json", "--register_interval=20s"]);
    assert_eq!(
        (done.code, status(&done, "ttl and interval")),
        (0, vec!["warning".to_owned()])
    );
}

fn nothing_is_written_when_asked_not_to() {
    let house = House::new();
    let report = house.run(&["doctor", "--read_only", "-o", "json"]);
    assert_eq!(report.code, 0, "{report:?}");
    assert_eq!(status(&report, "round trip"), ["skipped"]);
    let address = "--registry_address=orders=127.0.0.1:9001";
    let report = done(&mut house.bare(&["doctor", "--json", "--registry=static", address]));
    assert_eq!(status(&report, "round trip"), ["skipped"], "{report:?}");
}
