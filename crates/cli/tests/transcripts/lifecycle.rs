//! Records come, stay and go with the processes that own them.

use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::house::{House, now, pause, service, until};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "lifecycle",
        &[
            (
                "a_held_record_is_renewed_and_leaves_with_its_owner",
                a_held_record_is_renewed_and_leaves_with_its_owner,
            ),
            (
                "a_killed_owner_vanishes_after_its_ttl",
                a_killed_owner_vanishes_after_its_ttl,
            ),
            (
                "a_record_written_once_goes_with_its_ttl",
                a_record_written_once_goes_with_its_ttl,
            ),
            (
                "deregistering_what_is_not_there_succeeds",
                deregistering_what_is_not_there_succeeds,
            ),
            (
                "several_nodes_are_held_at_once",
                several_nodes_are_held_at_once,
            ),
            (
                "a_record_that_was_removed_comes_back",
                a_record_that_was_removed_comes_back,
            ),
        ],
    )
}

fn a_held_record_is_renewed_and_leaves_with_its_owner() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let house = House::new();
        let json = service("orders", 1);
        let mut held = house.start(&["register", &json, "--register_ttl=1s"]);
        held.said("registered until interrupted");
        let begun = now();
        while begun.elapsed() < Duration::from_millis(2500) {
            assert!(house.has("orders"), "after {:?}", begun.elapsed());
        }
        held.signal(signal);
        assert_eq!(held.end(), code);
        assert!(!house.has("orders"));
        let (data, said) = held.rest();
        assert!(data.is_empty(), "{data:?}");
        assert!(said.iter().any(|line| line == "deregistered"), "{said:?}");
    }
}

fn a_killed_owner_vanishes_after_its_ttl() {
    let house = House::new();
    let ttl = Duration::from_secs(2);
    let json = service("orders", 1);
    let mut held = house.start(&["register", &json, "--register_ttl=2s"]);
    held.said("registered until interrupted");
    pause(Duration::from_millis(800));
    held.signal(Signal::KILL);
    let killed = now();
    held.end();
    assert!(
        house.has("orders"),
        "a record outlives its owner until the ttl has passed"
    );
    until("the record is gone", || {
        (!house.has("orders")).then_some(())
    });
    let gone = killed.elapsed();
    assert!(gone <= ttl + Duration::from_millis(500), "{gone:?}");
    assert_eq!(house.run(&["services", "--json"]).stdout, "[]\n");
}

fn a_record_written_once_goes_with_its_ttl() {
    let house = House::new();
    house.register(&service("orders", 1), "1s");
    let written = now();
    assert!(house.has("orders"));
    until("the record is gone", || {
        (!house.has("orders")).then_some(())
    });
    assert!(
        written.elapsed() < Duration::from_millis(1500),
        "{:?}",
        written.elapsed()
    );
}

fn deregistering_what_is_not_there_succeeds() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let done = house.run(&["deregister", "orders", "order-1"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert!(
        done.stderr
            .contains("was not registered; did you mean `orders-1`?"),
        "{}",
        done.stderr
    );
    for _ in 0..2 {
        assert_eq!(house.run(&["deregister", "orders", "orders-1"]).code, 0);
        assert!(!house.has("orders"));
    }
}

fn several_nodes_are_held_at_once() {
    let house = House::new();
    let json = format!("[{},{}]", service("orders", 1), service("users", 2));
    let mut held = house.start(&["register", &json]);
    held.said("registered until interrupted");
    assert_eq!(
        house.run(&["services", "-o", "name"]).stdout,
        "orders\nusers\n"
    );
    held.signal(Signal::TERM);
    assert_eq!(held.end(), 0);
    assert_eq!(house.run(&["services", "-o", "name"]).stdout, "");
}

fn a_record_that_was_removed_comes_back() {
    let house = House::new();
    let json = service("orders", 1);
    let held = house.start(&["register", &json, "--register_ttl=2s"]);
    held.said("registered until interrupted");
    assert_eq!(house.run(&["deregister", "orders", "orders-1"]).code, 0);
    until("the record is back", || house.has("orders").then_some(()));
}
