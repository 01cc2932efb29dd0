//! One registry, however it is spelled.

use libtest_mimic::Trial;

use crate::house::{House, done, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "flags",
        &[
            (
                "every_spelling_reads_the_same_bytes",
                every_spelling_reads_the_same_bytes,
            ),
            (
                "a_flag_wins_over_the_environment",
                a_flag_wins_over_the_environment,
            ),
            ("go_micros_timings_are_taken", go_micros_timings_are_taken),
            (
                "the_deadline_has_its_own_code",
                the_deadline_has_its_own_code,
            ),
        ],
    )
}

fn every_spelling_reads_the_same_bytes() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let expected = house.run(&["get", "orders", "-o", "json"]).stdout;
    assert!(expected.starts_with(r#"[{"name":"orders""#), "{expected}");
    let directory = house.registry();
    let equals = format!("--registry_address={directory}");
    let url = format!("--registry=file://{directory}");
    for line in [
        &["--registry=file", &equals, "get", "orders", "-o", "json"][..],
        &["get", "orders", "-o", "json", "--registry=file", &equals],
        &[
            "-registry",
            "file",
            "-registry_address",
            &directory,
            "get",
            "orders",
            "-o",
            "json",
        ],
        &[
            "get",
            "-registry=file",
            "-registry-address",
            &directory,
            "orders",
            "-o=json",
        ],
        &["--registry-address", &directory, "get", "orders", "--json"],
        &[&url, "get", "orders", "--json"],
    ] {
        let done = done(&mut house.bare(line));
        assert_eq!(
            (done.code, &done.stdout),
            (0, &expected),
            "{line:?} {}",
            done.stderr
        );
    }
}

fn a_flag_wins_over_the_environment() {
    let (house, other) = (House::new(), House::new());
    house.register(&service("orders", 1), "60s");
    other.register(&service("users", 2), "60s");
    let names = |command: &mut std::process::Command| done(command).stdout;
    assert_eq!(
        names(&mut house.command(&["services", "-o", "name"])),
        "orders\n"
    );
    let directory = other.registry();
    let line = ["services", "-o", "name", "--registry_address", &directory];
    assert_eq!(names(&mut house.command(&line)), "users\n");
    let url = format!("--registry=file://{directory}");
    assert_eq!(
        names(&mut house.command(&["services", "-o", "name", &url])),
        "users\n"
    );
}

fn go_micros_timings_are_taken() {
    let house = House::new();
    for (ttl, interval, warned) in [("30", "15", false), ("30", "20", true), ("15", "10", true)] {
        let json = service("orders", 1);
        let line = [
            "register",
            &json,
            "--register_ttl",
            ttl,
            "--register_interval",
            interval,
        ];
        let mut held = house.start(&line);
        held.said("registered until interrupted");
        held.signal(rustix::process::Signal::TERM);
        assert_eq!(held.end(), 0, "{ttl}/{interval}");
        let report = house.run(&[
            "doctor",
            "--register_ttl",
            ttl,
            "--register_interval",
            interval,
        ]);
        assert_eq!(report.code, 0, "{report:?}");
        assert_eq!(
            report.stdout.contains("more than half"),
            warned,
            "{}",
            report.stdout
        );
    }
}

fn the_deadline_has_its_own_code() {
    let house = House::new();
    let done = house.run(&["watch", "--timeout", "300ms", "-o", "json"]);
    assert_eq!(done.code, 124, "{done:?}");
    assert!(
        done.stderr.contains("not done within 300ms"),
        "{}",
        done.stderr
    );
}
