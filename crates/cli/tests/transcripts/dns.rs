//! A registry that is only read: the records of a real name server, the one that
//! `WAYPOST_TEST_DNS` names.

use std::process::Command;

use libtest_mimic::{Completion, Failed, Trial};

use crate::house::{Done, House, Running, done, free_port, service};

/// A law of a name server at this address.
type Law = fn(&str);

pub(crate) fn trials() -> Vec<Trial> {
    let laws: [(&str, Law); 6] = [
        (
            "a_domain_without_a_list_is_no_fault",
            a_domain_without_a_list_is_no_fault,
        ),
        (
            "a_service_is_read_from_its_records",
            a_service_is_read_from_its_records,
        ),
        (
            "an_address_apart_needs_complete_names",
            an_address_apart_needs_complete_names,
        ),
        ("nobody_registers", nobody_registers),
        (
            "a_watch_begins_with_what_there_is",
            a_watch_begins_with_what_there_is,
        ),
        (
            "a_server_that_is_not_there_has_its_code",
            a_server_that_is_not_there_has_its_code,
        ),
    ];
    laws.into_iter()
        .map(|(name, law)| trial(name, law))
        .collect()
}

fn trial(name: &str, law: Law) -> Trial {
    Trial::ignorable_test(format!("dns::{name}"), move || {
        if !cfg!(feature = "dns") {
            let reason = "the command is built without the feature dns";
            return Ok(Completion::ignored_with(reason));
        }
        match std::env::var("WAYPOST_TEST_DNS") {
            Ok(address) => {
                law(&address);
                Ok(Completion::Completed)
            }
            Err(_) if required() => Err(Failed::from("WAYPOST_TEST_DNS names no name server")),
            Err(_) => Ok(Completion::ignored_with(
                "WAYPOST_TEST_DNS names no name server",
            )),
        }
    })
}

/// Whether what needs a server must not be left out.
fn required() -> bool {
    let kinds = std::env::var("WAYPOST_REQUIRE").unwrap_or_default();
    kinds.split(',').any(|kind| kind == "docker")
}

/// The records that no test changes; see `docker/dns`.
fn url(address: &str) -> String {
    format!("dns://{address}/fixed.waypost.test")
}

fn command(house: &House, url: &str, arguments: &[&str]) -> Command {
    let mut command = house.bare(arguments);
    command.env("MICRO_REGISTRY", url);
    command
}

fn run(url: &str, arguments: &[&str]) -> Done {
    done(&mut command(&House::new(), url, arguments))
}

const ORDERS: &str = concat!(
    r#"[{"name":"orders","version":"latest","metadata":null,"endpoints":null,"nodes":["#,
    r#"{"id":"a.nodes.fixed.waypost.test:8080","address":"10.0.0.1:8080","metadata":{"priority":"10","weight":"60"}},"#,
    r#"{"id":"b.nodes.fixed.waypost.test:8080","address":"10.0.0.2:8080","metadata":{"priority":"10","weight":"40"}}"#,
    "]}]\n",
);

fn a_service_is_read_from_its_records(address: &str) {
    let url = url(address);
    let orders = run(&url, &["get", "orders", "-o", "json"]);
    assert_eq!(
        (orders.code, orders.stdout.as_str()),
        (0, ORDERS),
        "{orders:?}"
    );
    let names = run(&url, &["services", "-o", "name"]);
    assert_eq!(
        (names.code, names.stdout.as_str()),
        (0, "carts\norders\n"),
        "{names:?}"
    );
    let users = run(&format!("{url}?port=80"), &["get", "users", "-o", "json"]);
    assert!(
        users
            .stdout
            .contains(r#""id":"10.0.1.2:80","address":"10.0.1.2:80""#),
        "{users:?}"
    );
    let none = run(&url, &["get", "unheard-of"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""), "{none:?}");
    let report = run(&url, &["doctor"]);
    assert_eq!(report.code, 0, "{report:?}");
}

fn an_address_apart_needs_complete_names(address: &str) {
    let house = House::new();
    let apart = format!("--registry_address={address}");
    let name = "orders.fixed.waypost.test";
    let read = done(&mut house.bare(&["get", name, "-o", "json", "--registry=dns", &apart]));
    let expected = ORDERS.replacen("orders", name, 1);
    assert_eq!((read.code, read.stdout), (0, expected));
    let listed = done(&mut house.bare(&["services", "--registry=dns", &apart]));
    assert_eq!((listed.code, listed.stdout.as_str()), (2, ""), "{listed:?}");
    assert_eq!(
        listed.stderr,
        "error: dns: watch *: without a domain there is no list of services; \
         ask for a service by its complete name\n"
    );
}

fn a_domain_without_a_list_is_no_fault(address: &str) {
    let bare = format!("dns://{address}");
    for url in [format!("{bare}/nodes.fixed.waypost.test"), bare] {
        let report = run(&url, &["doctor"]);
        assert_eq!(report.code, 0, "{report:?}");
        assert!(report.stdout.contains("! list: dns: "), "{report:?}");
        assert!(!report.stdout.contains('✘'), "{report:?}");
    }
}

fn nobody_registers(address: &str) {
    let json = service("orders", 1);
    let nobody = "nobody registers in DNS; change the domain's records themselves";
    let register = format!("error: dns: register orders/orders-1: {nobody}\n");
    let deregister = format!("error: dns: deregister orders/orders-1: {nobody}\n");
    // The keeper refuses before it asks anybody.
    let kept = "error: dns: register orders/orders-1: this registry cannot be written\n";
    for (line, sentence) in [
        (&["register", &json][..], kept),
        (&["register", "--once", &json], register.as_str()),
        (&["deregister", "orders", "orders-1"], deregister.as_str()),
    ] {
        let refused = run(&url(address), line);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (2, ""),
            "{refused:?}"
        );
        assert_eq!(refused.stderr, sentence, "{line:?}");
    }
}

fn a_watch_begins_with_what_there_is(address: &str) {
    let house = House::new();
    let url = url(address);
    let watch = Running::start(&mut command(
        &house,
        &url,
        &["watch", "carts", "-o", "json"],
    ));
    let told = watch.line();
    let start = concat!(
        r#"{"action":"snapshot","services":[{"name":"carts","version":"2.1.0","#,
        r#""metadata":{"team":"shop"},"endpoints":null,"nodes":[{"id":"blue","#,
        r#""address":"10.0.0.1:9090","metadata":{"zone":"a"}}]}],"#
    );
    assert!(told.starts_with(start), "{told}");
}

fn a_server_that_is_not_there_has_its_code(_: &str) {
    let url = format!("dns://127.0.0.1:{}/example.org?timeout=300ms", free_port());
    for line in [&["services"][..], &["get", "orders"], &["watch", "orders"]] {
        let refused = run(&url, line);
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (3, ""),
            "{line:?} {refused:?}"
        );
        let error = refused.stderr.lines().last().unwrap_or_default();
        assert!(error.starts_with("error: dns: "), "{line:?} {error}");
    }
}
