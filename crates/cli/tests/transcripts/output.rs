//! Data on the standard output and nowhere else.

use std::process::Stdio;

use libtest_mimic::Trial;

use crate::house::{House, done, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "output",
        &[
            (
                "services_has_the_documented_json",
                services_has_the_documented_json,
            ),
            ("get_has_go_micros_json", get_has_go_micros_json),
            ("yaml_says_what_json_says", yaml_says_what_json_says),
            (
                "tables_and_names_are_plain_lines",
                tables_and_names_are_plain_lines,
            ),
            (
                "an_empty_registry_is_no_failure",
                an_empty_registry_is_no_failure,
            ),
            (
                "a_failed_command_writes_no_data",
                a_failed_command_writes_no_data,
            ),
            (
                "a_mistyped_service_is_recognised",
                a_mistyped_service_is_recognised,
            ),
            (
                "a_reader_that_leaves_is_no_failure",
                a_reader_that_leaves_is_no_failure,
            ),
            (
                "go_micros_forms_give_the_same",
                go_micros_forms_give_the_same,
            ),
            ("describe_shows_everything", describe_shows_everything),
            (
                "colours_are_obeyed_and_never_shown",
                colours_are_obeyed_and_never_shown,
            ),
        ],
    )
}

const METADATA: &str = r#"{"name":"orders","version":"2.0.0","metadata":{"team":"blue"},"endpoints":[{"name":"Orders.List","request":{"name":"Request","type":"Request","values":[{"name":"page","type":"int64","values":null}]},"response":null,"metadata":{"stream":"false"}}],"nodes":[{"id":"orders-9","address":"127.0.0.1:9009","metadata":{"zone":"a"}}]}"#;

fn two_services() -> House {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    house.register(METADATA, "60s");
    house.register(&service("users", 2), "60s");
    house
}

fn services_has_the_documented_json() {
    let house = two_services();
    let expected = concat!(
        r#"[{"name":"orders","versions":["1.0.1","2.0.0"],"nodes":2},"#,
        r#"{"name":"users","versions":["1.0.2"],"nodes":1}]"#,
        "\n"
    );
    for line in [
        &["services", "-o", "json"][..],
        &["--json", "services"],
        &["-o=json", "list"],
    ] {
        let done = house.run(line);
        assert_eq!((done.code, done.stdout.as_str()), (0, expected), "{line:?}");
        assert_eq!(done.stderr, "", "{line:?}");
    }
}

fn get_has_go_micros_json() {
    let house = two_services();
    let done = house.run(&["get", "orders", "-o", "json"]);
    let first = r#"{"name":"orders","version":"1.0.1","metadata":null,"endpoints":null,"nodes":[{"id":"orders-1","address":"127.0.0.1:9001","metadata":null}]}"#;
    assert_eq!(
        (done.code, done.stdout),
        (0, format!("[{first},{METADATA}]\n"))
    );
    let described = house.run(&["describe", "orders", "-o", "json"]);
    assert_eq!(described.stdout, format!("[{first},{METADATA}]\n"));
}

fn yaml_says_what_json_says() {
    let house = two_services();
    let done = house.run(&["get", "orders", "-o", "yaml"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.starts_with("---\n- "), "{}", done.stdout);
    for line in [
        "  name: orders",
        "  version: \"2.0.0\"",
        "    - name: Orders.List",
        "        stream: \"false\"",
        "      address: \"127.0.0.1:9009\"",
    ] {
        let found = |other: &str| other.replace("- ", "  ") == line.replace("- ", "  ");
        assert!(done.stdout.lines().any(found), "{line} in {}", done.stdout);
    }
    let watched = house.run(&["describe", "orders", "-o", "yaml"]);
    assert_eq!(watched.stdout, done.stdout);
}

fn tables_and_names_are_plain_lines() {
    let house = two_services();
    for (line, expected) in [
        (
            &["services"][..],
            "NAME     NODES   VERSIONS\norders   2       1.0.1,2.0.0\nusers    1       1.0.2\n",
        ),
        (&["services", "-o", "name"], "orders\nusers\n"),
        (
            &["get", "users"],
            "NODE      ADDRESS          VERSION\nusers-2   127.0.0.1:9002   1.0.2\n",
        ),
        (
            &["get", "orders", "-o", "name"],
            "orders/orders-1\norders/orders-9\n",
        ),
        (
            &["get", "users", "-o", "wide"],
            "NODE      ADDRESS          VERSION   METADATA   ENDPOINTS\n\
             users-2   127.0.0.1:9002   1.0.2     -          -\n",
        ),
    ] {
        let done = house.run(line);
        assert_eq!((done.code, done.stdout.as_str()), (0, expected), "{line:?}");
    }
    let wide = house.run(&["services", "-o", "wide"]).stdout;
    assert!(wide.contains("127.0.0.1:9001,127.0.0.1:9009"), "{wide}");
}

fn an_empty_registry_is_no_failure() {
    let house = House::new();
    let done = house.run(&["services", "--json"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "[]\n"));
    let done = house.run(&["services"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert!(done.stderr.contains("no service"), "{}", done.stderr);
}

fn a_failed_command_writes_no_data() {
    let house = two_services();
    for (line, code) in [
        (&["get", "nobody"][..], 1),
        (&["get", "nobody", "-o", "json"], 1),
        (&["describe", "nobody"], 1),
        (&["get", "a/b"], 2),
        (&["services", "--registry=ectd"], 2),
        (&["services", "--nonsense"], 2),
        (&[], 2),
    ] {
        let done = house.run(line);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (code, ""),
            "{line:?} {}",
            done.stderr
        );
        assert_ne!(done.stderr, "", "{line:?}");
    }
}

fn a_mistyped_service_is_recognised() {
    let done = two_services().run(&["get", "ordres"]);
    assert_eq!(
        done.stderr,
        "error: service `ordres` is not registered; did you mean `orders`?\n"
    );
}

fn a_reader_that_leaves_is_no_failure() {
    let house = two_services();
    for line in [
        &["services"][..],
        &["get", "orders", "--json"],
        &["watch"],
        &["man"],
    ] {
        let mut command = house.command(line);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        drop(child.stdout.take());
        if line == ["watch"] {
            // Its first words may fit; a later one finds the reader gone.
            house.register(&service("late", 5), "60s");
        }
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line:?}");
    }
}

fn go_micros_forms_give_the_same() {
    let house = two_services();
    for (theirs, ours) in [
        (&["list", "services"][..], &["services"][..]),
        (&["get", "service", "orders"], &["get", "orders"]),
    ] {
        assert_eq!(
            house.run(theirs).stdout,
            house.run(ours).stdout,
            "{theirs:?}"
        );
    }
    let json = service("billing", 3);
    let json = json.as_str();
    let done = house.run(&["register", "service", json, "--once"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(house.has("billing"));
    let done = house.run(&["deregister", "service", json]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!house.has("billing"));
}

fn describe_shows_everything() {
    let text = two_services().run(&["describe", "orders"]).stdout;
    for needle in [
        "orders",
        "2.0.0",
        "team=blue",
        "orders-9 at 127.0.0.1:9009",
        "zone=a",
        "Orders.List(Request {page: int64})",
    ] {
        assert!(text.contains(needle), "{needle} in {text}");
    }
    let painted = two_services();
    let mut command = painted.command(&["describe", "orders"]);
    command.env("FORCE_COLOR", "1");
    assert!(done(&mut command).stdout.contains('\u{1b}'));
    command.env("NO_COLOR", "1");
    assert!(!done(&mut command).stdout.contains('\u{1b}'));
}

fn colours_are_obeyed_and_never_shown() {
    let house = two_services();
    for line in [&["describe", "orders"][..], &["doctor"]] {
        let painted = done(house.command(line).env("FORCE_COLOR", "1"));
        assert_eq!(painted.code, 0, "{painted:?}");
        assert!(painted.stdout.contains("\u{1b}[1m"), "{painted:?}");
        assert!(!painted.stdout.contains("\\u{"), "{}", painted.stdout);
    }
}
