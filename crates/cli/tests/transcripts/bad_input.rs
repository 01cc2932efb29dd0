//! Whatever is typed wrongly is told in one sentence that names the thing and the rule.

use libtest_mimic::Trial;

use crate::house::{Done, House, done, fed, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "bad_input",
        &[
            (
                "names_that_break_a_rule_are_refused",
                names_that_break_a_rule_are_refused,
            ),
            (
                "records_that_break_a_rule_are_refused",
                records_that_break_a_rule_are_refused,
            ),
            (
                "registries_that_cannot_be_are_refused",
                registries_that_cannot_be_are_refused,
            ),
            (
                "timings_that_cannot_keep_a_record_are_refused",
                timings_that_cannot_keep_a_record_are_refused,
            ),
            (
                "a_password_in_a_flag_is_refused_unseen",
                a_password_in_a_flag_is_refused_unseen,
            ),
            (
                "what_cannot_last_is_not_written_once",
                what_cannot_last_is_not_written_once,
            ),
            ("run_says_what_is_missing", run_says_what_is_missing),
            (
                "the_standard_input_and_files_are_read",
                the_standard_input_and_files_are_read,
            ),
        ],
    )
}

/// Code 2, no data, one line that holds `needle`.
pub(crate) fn refused(done: &Done, needle: &str, what: &str) {
    assert_eq!(done.code, 2, "{what}: {done:?}");
    assert_eq!(done.stdout, "", "{what}");
    assert!(
        done.stderr.starts_with("error: "),
        "{what}: {}",
        done.stderr
    );
    assert_eq!(done.stderr.lines().count(), 1, "{what}: {}", done.stderr);
    assert!(
        done.stderr.contains(needle),
        "{what}: {} has no {needle:?}",
        done.stderr
    );
}

fn names_that_break_a_rule_are_refused() {
    let house = House::new();
    let long = "x".repeat(129);
    for (name, needle) in [
        ("", "is empty"),
        ("..", "`..`"),
        ("a..b", "contains `..`"),
        ("a/../b", "`..`"),
        ("a\nb", "control character"),
        ("a\u{1b}[31m", "control character"),
        (&long, "at most 128"),
        ("a/b", "contains '/'"),
        ("a b", "contains ' '"),
        ("ünï", "contains 'ü'"),
    ] {
        refused(&house.run(&["get", name]), needle, name);
    }
    refused(&house.run(&["watch", ".."]), "`..`", "watch");
    refused(
        &house.run(&["get", "a", "b"]),
        "one name too many",
        "two names",
    );
}

fn records_that_break_a_rule_are_refused() {
    let house = House::new();
    let with = |name: &str, id: &str, address: &str| {
        format!(
            r#"{{"name":"{name}","version":"1","nodes":[{{"id":"{id}","address":"{address}"}}]}}"#
        )
    };
    for (json, needle) in [
        ("{".to_owned(), "JSON"),
        ("[1]".to_owned(), "the service"),
        ("{}".to_owned(), "name"),
        (r#"{"name":"orders"}"#.to_owned(), "node"),
        (r#"{"name":"orders","nodes":[]}"#.to_owned(), "node"),
        ("no-such-file.json".to_owned(), "neither JSON nor a file"),
        (with("a/b", "a-1", "10.0.0.1:80"), "contains '/'"),
        (with("", "a-1", "10.0.0.1:80"), "empty"),
        (with("..", "a-1", "10.0.0.1:80"), ".."),
        (with("orders", "", "10.0.0.1:80"), "empty"),
        (with("orders", "a b", "10.0.0.1:80"), "a b"),
        (with("orders", "a", "10.0.0.1"), "no port"),
        (with("orders", "a", "10.0.0.1:0"), "1 to 65535"),
        (with("orders", "a", "10.0.0.1:99999"), "1 to 65535"),
        (with("orders", "a", "http://x"), "http://"),
        (with("orders", "a", "0.0.0.0:80"), "unspecified"),
        (with("orders", "a", "169.254.169.254:80"), "link-local"),
        ("[".repeat(10_000), "JSON"),
        (format!("{{\"name\":{}", "[".repeat(10_000)), "the service"),
    ] {
        for once in [true, false] {
            let mut line = vec!["register", json.as_str()];
            if once {
                line.push("--once");
            }
            refused(&house.run(&line), needle, &json);
        }
    }
    assert_eq!(house.run(&["services", "--json"]).stdout, "[]\n");
}

fn registries_that_cannot_be_are_refused() {
    let house = House::new();
    for (line, needle) in [
        (&["--registry="][..], "--registry is empty"),
        (&["--registry", ""], "--registry is empty"),
        (
            &["--registry=ectd"],
            "unknown registry `ectd`; did you mean `etcd`? (available: ",
        ),
        (&["--registry=Etcd"], "lower-case letters"),
        (&["--registry=file://x?ttl=3"], "ttl"),
        (&["--registry=etcd://a", "--registry_address=b"], "use one"),
        (
            &["--register_ttl=soon"],
            "--register_ttl: \"soon\" is no duration",
        ),
        (
            &[
                "--registry_password_file=/nowhere",
                "--registry_username=ann",
            ],
            "/nowhere",
        ),
        (&["--registry_username=ann"], "has no password"),
    ] {
        let mut command = house.bare(line);
        command.arg("services");
        refused(&done(&mut command), needle, &format!("{line:?}"));
    }
    let mut command = house.bare(&["services"]);
    command.env("MICRO_REGISTER_TTL", "soon");
    refused(&done(&mut command), "MICRO_REGISTER_TTL", "variable");
    #[cfg(not(feature = "etcd"))]
    refused(
        &done(&mut house.bare(&["services", "--registry=etcd"])),
        "registry `etcd` is not compiled into this binary; rebuild with `--features etcd` (available: ",
        "etcd",
    );
}

fn timings_that_cannot_keep_a_record_are_refused() {
    let house = House::new();
    let json = service("orders", 1);
    let program = ["run", "--name", "orders", "--port", "9", "--", "/bin/true"];
    for (timing, needle) in [
        (&["--register_ttl=0"][..], "ttl"),
        (&["--register_ttl=10ms"], "below"),
        (&["--register_ttl=30", "--register_interval=30"], "interval"),
        (&["--register_interval=40s"], "interval"),
        (&["--register_interval=0"], "interval is 0"),
        (&["--register_ttl=1000000000000"], "duration"),
        (&["--register_ttl=-1"], "duration"),
    ] {
        let held: Vec<_> = ["register", &json].iter().chain(timing).copied().collect();
        refused(&house.run(&held), needle, &format!("{held:?}"));
        let run: Vec<_> = timing.iter().chain(&program).copied().collect();
        refused(&house.run(&run), needle, &format!("{run:?}"));
    }
    for (timing, needle) in [
        ("--register_ttl=0", "ttl"),
        ("--register_ttl=10ms", "ttl"),
        ("--register_interval=30", "interval"),
        ("--register_interval=0", "interval"),
    ] {
        let once = ["register", &json, "--once", timing];
        refused(&house.run(&once), needle, timing);
    }
}

fn a_password_in_a_flag_is_refused_unseen() {
    let house = House::new();
    for line in [
        &["--registry=etcd://ann:S3CR3T@a", "services"][..],
        &["--registry=etcd://a?password=S3CR3T", "services"],
        &[
            "--registry=etcd",
            "--registry_address=ann:S3CR3T@a",
            "services",
        ],
        &["--registry_password=S3CR3T", "services"],
        &["-registry-password", "S3CR3T", "services"],
    ] {
        let done = done(&mut house.bare(line));
        refused(&done, "command line", &format!("{line:?}"));
        assert!(!done.stderr.contains("S3CR3T"), "{}", done.stderr);
    }
    for line in [&["--help"][..], &["doctor"], &["services", "--nonsense"]] {
        let mut command = house.bare(line);
        command
            .env("MICRO_REGISTRY", "static://ann:S3CR3T@a")
            .env("MICRO_REGISTRY_PASSWORD", "S3CR3T")
            .env("RUST_LOG", "trace");
        let done = done(&mut command);
        assert!(!format!("{done:?}").contains("S3CR3T"), "{line:?} {done:?}");
    }
}

fn what_cannot_last_is_not_written_once() {
    let house = House::new();
    let json = service("orders", 1);
    let line = [
        "register",
        &json,
        "--once",
        "--registry=memory",
        "--registry_address=",
    ];
    let mut command = house.bare(&line[..4]);
    refused(
        &done(&mut command),
        "keeps a record only as long as the process",
        "memory",
    );
    let mut command = house.bare(&["register", &json, "--registry=static", "--once"]);
    let done = done(&mut command);
    assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{done:?}");
}

fn run_says_what_is_missing() {
    let house = House::new();
    for (line, needle) in [
        (&["--port", "80", "--", "/bin/true"][..], "--name"),
        (&["--name", "orders", "--", "/bin/true"], "--port"),
        (
            &["--name", "orders", "--port", "0", "--", "/bin/true"],
            "1 to 65535",
        ),
        (
            &["--name", "a/b", "--port", "80", "--", "/bin/true"],
            "contains '/'",
        ),
        (
            &[
                "--name",
                "orders",
                "--port",
                "80",
                "--host",
                "0.0.0.0",
                "--",
                "/bin/true",
            ],
            "unspecified",
        ),
        (
            &[
                "--name",
                "orders",
                "--port",
                "80",
                "--advertise",
                "x",
                "--",
                "/bin/true",
            ],
            "no port",
        ),
        (
            &["--name", "orders", "--port", "80", "--", "/no/such/program"],
            "/no/such/program",
        ),
    ] {
        let line: Vec<_> = std::iter::once(&"run").chain(line).copied().collect();
        refused(&house.run(&line), needle, &format!("{line:?}"));
    }
    for line in [
        &["run", "--name", "orders", "--port", "80"][..],
        &[
            "run",
            "--name",
            "orders",
            "--port",
            "99999",
            "--",
            "/bin/true",
        ],
        &[
            "run",
            "--name",
            "orders",
            "--port",
            "80",
            "--restart",
            "always",
            "--",
            "/bin/true",
        ],
        &[
            "run",
            "--name",
            "orders",
            "--port",
            "80",
            "--health",
            "https://a",
            "--",
            "/bin/true",
        ],
    ] {
        let done = house.run(line);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (2, ""),
            "{line:?} {done:?}"
        );
    }
}

fn the_standard_input_and_files_are_read() {
    let house = House::new();
    let done = fed(
        &mut house.command(&["register", "-", "--once"]),
        &service("orders", 1),
    );
    assert_eq!(done.code, 0, "{done:?}");
    let file = house.path().join("users.json");
    std::fs::write(&file, service("users", 2)).expect("a file");
    let done = house.run(&["register", "--once", file.to_str().expect("UTF-8")]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(house.has("orders") && house.has("users"));
    // What `get` writes, `register` takes.
    let written = house.run(&["get", "orders", "--json"]).stdout;
    let other = House::new();
    let done = fed(&mut other.command(&["register", "-", "--once"]), &written);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(other.run(&["get", "orders", "--json"]).stdout, written);
}
