//! The same contract on a real etcd: the one that `WAYPOST_TEST_ETCD` names.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::Signal;

use crate::house::{House, Running, done, free_port, now, service, until};

/// A law of a registry at this address.
type Law = fn(&str);

pub(crate) fn trials() -> Vec<Trial> {
    let laws: [(&str, Law); 6] = [
        (
            "every_spelling_reads_the_same_bytes",
            every_spelling_reads_the_same_bytes,
        ),
        (
            "go_micros_timings_are_taken_and_impossible_ones_refused",
            go_micros_timings_are_taken_and_impossible_ones_refused,
        ),
        (
            "a_killed_owner_vanishes_after_its_ttl",
            a_killed_owner_vanishes_after_its_ttl,
        ),
        ("a_watch_tells_every_change", a_watch_tells_every_change),
        ("a_sound_set_up_is_all_ticks", a_sound_set_up_is_all_ticks),
        (
            "a_registry_that_is_not_there_has_its_code",
            a_registry_that_is_not_there_has_its_code,
        ),
    ];
    laws.into_iter()
        .map(|(name, law)| trial(name, law))
        .collect()
}

fn trial(name: &str, law: Law) -> Trial {
    Trial::ignorable_test(format!("etcd::{name}"), move || {
        if !cfg!(feature = "etcd") {
            let reason = "the command is built without the feature etcd";
            return Ok(Completion::ignored_with(reason));
        }
        match std::env::var("WAYPOST_TEST_ETCD") {
            Ok(address) => {
                law(&address);
                Ok(Completion::Completed)
            }
            Err(_) if required() => Err(Failed::from("WAYPOST_TEST_ETCD names no etcd")),
            Err(_) => Ok(Completion::ignored_with("WAYPOST_TEST_ETCD names no etcd")),
        }
    })
}

/// Whether what needs a server must not be left out.
fn required() -> bool {
    let kinds = std::env::var("WAYPOST_REQUIRE").unwrap_or_default();
    kinds.split(',').any(|kind| kind == "docker")
}

/// A name that no other run uses.
fn fresh(name: &str) -> String {
    format!("{name}-{:08x}", fastrand::u32(..))
}

/// A URL with a prefix that no other run uses.
fn url(address: &str) -> String {
    format!("etcd://{address}/{}", fresh("transcripts"))
}

fn command(house: &House, url: &str, arguments: &[&str]) -> Command {
    let mut command = house.bare(arguments);
    command.env("MICRO_REGISTRY", url);
    command
}

fn every_spelling_reads_the_same_bytes(address: &str) {
    let house = House::new();
    let name = fresh("orders");
    let name = name.as_str();
    // Two addresses of one server.
    let both = format!("{address},{}", address.replace("127.0.0.1", "localhost"));
    let both = both.as_str();
    let json = service(name, 1);
    let line = [
        "register",
        &json,
        "--once",
        "--registry=etcd",
        "--registry_address",
        both,
    ];
    let written = done(&mut house.bare(&line));
    assert_eq!(written.code, 0, "{written:?}");
    let expected = format!(
        "[{{\"name\":\"{name}\",\"version\":\"1.0.1\",\"metadata\":null,\"endpoints\":null,\"nodes\":[{{\"id\":\"{name}-1\",\"address\":\"127.0.0.1:9001\",\"metadata\":null}}]}}]\n"
    );
    let (equals, url) = (
        format!("--registry_address={both}"),
        format!("--registry=etcd://{both}"),
    );
    let hyphen = format!("--registry-address={both}");
    for line in [
        &["--registry=etcd", &equals, "get", name, "-o", "json"][..],
        &[
            "-registry",
            "etcd",
            "-registry_address",
            both,
            "get",
            name,
            "-o",
            "json",
        ],
        &["get", name, "-o", "json", "--registry=etcd", &hyphen],
        &[&url, "get", name, "--json"],
    ] {
        let read = done(&mut house.bare(line));
        assert_eq!(
            (read.code, &read.stdout),
            (0, &expected),
            "{line:?} {}",
            read.stderr
        );
    }
    let mut command = house.bare(&["get", name, "--json"]);
    command
        .env("MICRO_REGISTRY", "etcd")
        .env("MICRO_REGISTRY_ADDRESS", both);
    assert_eq!(done(&mut command).stdout, expected);
    let removed = done(
        house
            .bare(&["deregister", name, &format!("{name}-1")])
            .args([&url]),
    );
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(done(&mut house.bare(&["get", name, &url])).code, 1);
}

fn go_micros_timings_are_taken_and_impossible_ones_refused(address: &str) {
    let house = House::new();
    let url = url(address);
    let json = service("orders", 1);
    for (ttl, interval) in [("30", "15"), ("30", "20"), ("15", "10")] {
        let line = [
            "register",
            &json,
            "--register_ttl",
            ttl,
            "--register_interval",
            interval,
        ];
        let mut held = Running::start(&mut command(&house, &url, &line));
        held.said("registered until interrupted");
        assert_eq!(done(&mut command(&house, &url, &["get", "orders"])).code, 0);
        held.signal(Signal::TERM);
        assert_eq!(held.end(), 0, "{ttl}/{interval}");
        assert_eq!(done(&mut command(&house, &url, &["get", "orders"])).code, 1);
    }
    for timing in [
        &["--register_ttl=30", "--register_interval=30"][..],
        &["--register_ttl=1"],
        &["--register_ttl=0"],
    ] {
        let line: Vec<_> = ["register", &json].iter().chain(timing).copied().collect();
        let refused = done(&mut command(&house, &url, &line));
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (2, ""),
            "{refused:?}"
        );
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    }
}

fn a_killed_owner_vanishes_after_its_ttl(address: &str) {
    let house = House::new();
    let url = url(address);
    let json = service("orders", 1);
    let line = ["register", &json, "--register_ttl=2s"];
    let mut held = Running::start(&mut command(&house, &url, &line));
    held.said("registered until interrupted");
    held.signal(Signal::KILL);
    let killed = now();
    held.end();
    let gone = || done(&mut command(&house, &url, &["get", "orders"])).code == 1;
    until("the record is gone", || gone().then_some(()));
    // The server's own slack: it sweeps twice a second, a ttl is counted in whole seconds.
    let most = Duration::from_secs(2) + Duration::from_millis(2000);
    assert!(killed.elapsed() <= most, "{:?}", killed.elapsed());
}

fn a_watch_tells_every_change(address: &str) {
    let house = House::new();
    let url = url(address);
    let watch = Running::start(&mut command(&house, &url, &["watch", "-o", "json"]));
    assert!(
        watch
            .line()
            .starts_with(r#"{"action":"snapshot","services":[],"#)
    );
    let json = service("orders", 1);
    for (line, start) in [
        (
            &["register", "--once", &json][..],
            r#"{"action":"create","service":{"name":"orders","version":"1.0.1""#,
        ),
        (
            &["deregister", "orders", "orders-1"],
            r#"{"action":"delete","service":{"name":"orders","version":"1.0.1""#,
        ),
    ] {
        assert_eq!(done(&mut command(&house, &url, line)).code, 0);
        let told = watch.line();
        assert!(told.starts_with(start), "{told}");
    }
}

fn a_sound_set_up_is_all_ticks(address: &str) {
    let house = House::new();
    let url = url(address);
    let report = done(&mut command(&house, &url, &["doctor"]));
    assert_eq!(report.code, 0, "{report:?}");
    assert!(report.stdout.contains("✔ round trip"), "{}", report.stdout);
    assert!(!report.stdout.contains('✘'), "{}", report.stdout);
}

fn a_registry_that_is_not_there_has_its_code(_: &str) {
    let house = House::new();
    let url = format!("etcd://127.0.0.1:{}", free_port());
    let json = service("orders", 1);
    for line in [
        &["services"][..],
        &["get", "orders"],
        &["watch"],
        &["register", &json],
        &["register", "--once", &json],
        &["deregister", "orders", "orders-1"],
    ] {
        let refused = done(&mut command(&house, &url, line));
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (3, ""),
            "{line:?} {refused:?}"
        );
        let error = refused.stderr.lines().last().unwrap_or_default();
        assert!(error.starts_with("error: etcd: "), "{line:?} {error}");
    }
    assert_eq!(done(&mut command(&house, &url, &["doctor"])).code, 3);
}
