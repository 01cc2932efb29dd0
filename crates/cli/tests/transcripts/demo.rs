//! The demo needs nothing and leaves nothing.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::house::{House, Running, done, now, until};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "demo",
        &[
            (
                "the_demo_shows_a_death_and_ends",
                the_demo_shows_a_death_and_ends,
            ),
            (
                "an_interrupted_demo_leaves_nothing",
                an_interrupted_demo_leaves_nothing,
            ),
            (
                "a_killed_demo_leaves_no_process",
                a_killed_demo_leaves_no_process,
            ),
        ],
    )
}

fn demo(house: &House) -> Command {
    let mut command = house.bare(&["demo"]);
    command.env("TMPDIR", house.path());
    command
}

fn is_empty(house: &House) -> bool {
    std::fs::read_dir(house.path())
        .expect("a directory")
        .next()
        .is_none()
}

fn the_demo_shows_a_death_and_ends() {
    let house = House::new();
    let begun = now();
    let done = done(&mut demo(&house));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    for needle in [
        "+ orders/orders-2",
        "- orders/orders-2",
        "+ orders/orders-3",
        "- orders/orders-1",
        "hello from orders-3",
        "Summary",
        "calls meanwhile, none failed",
    ] {
        assert!(done.stdout.contains(needle), "{needle} in {}", done.stdout);
    }
    assert!(
        !done.stdout.contains('\u{1b}'),
        "no colour without a terminal"
    );
    assert!(is_empty(&house));
}

/// The processes that a process has started, by whichever of its threads.
fn children(of: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let ids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let of_task = |task: u32| {
        let path = format!("/proc/{of}/task/{task}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect::<Vec<u32>>()
    };
    ids.flat_map(of_task).collect()
}

fn alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn an_interrupted_demo_leaves_nothing() {
    let house = House::new();
    let mut running = Running::start(&mut demo(&house));
    let started = until("three processes run", || {
        Some(children(running.id())).filter(|ids| ids.len() == 3)
    });
    running.signal(Signal::INT);
    assert_eq!(running.end(), 130);
    assert!(!started.iter().any(|child| alive(*child)));
    assert!(is_empty(&house));
}

fn a_killed_demo_leaves_no_process() {
    let house = House::new();
    let mut running = Running::start(&mut demo(&house));
    let started = until("three processes run", || {
        Some(children(running.id())).filter(|ids| ids.len() == 3)
    });
    running.signal(Signal::KILL);
    running.end();
    until("the processes are gone", || {
        (!started.iter().any(|child| alive(*child))).then_some(())
    });
}
