//! `run` keeps a program running, and registered while it is well.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::house::{House, Running, done, free_port, now, pause, until};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "run",
        &[
            (
                "a_program_is_registered_once_its_port_accepts",
                a_program_is_registered_once_its_port_accepts,
            ),
            (
                "a_stopped_program_is_deregistered_first",
                a_stopped_program_is_deregistered_first,
            ),
            (
                "a_crashed_program_is_restarted_three_times",
                a_crashed_program_is_restarted_three_times,
            ),
            (
                "a_hung_program_is_restarted_three_times",
                a_hung_program_is_restarted_three_times,
            ),
            (
                "an_unhealthy_program_is_deregistered_while_it_lives",
                an_unhealthy_program_is_deregistered_while_it_lives,
            ),
            (
                "a_program_that_ends_takes_its_record_along",
                a_program_that_ends_takes_its_record_along,
            ),
            (
                "a_program_without_a_port_is_never_registered",
                a_program_without_a_port_is_never_registered,
            ),
            (
                "other_signals_reach_the_program",
                other_signals_reach_the_program,
            ),
            (
                "a_program_that_does_not_stop_is_killed",
                a_program_that_does_not_stop_is_killed,
            ),
        ],
    )
}

/// A house with a subject in it.
struct Case {
    house: House,
    port: u16,
}

impl Case {
    fn new() -> Self {
        Self {
            house: House::new(),
            port: free_port(),
        }
    }

    fn command(&self, plan: &str, flags: &[&str]) -> Command {
        let mut command = self
            .house
            .command(&["run", "--name=orders", "--server_id=orders-1"]);
        command
            .arg(format!("--port={}", self.port))
            .args([
                "--restart_delay=50ms",
                "--health_interval=100ms",
                "--health_timeout=200ms",
            ])
            .args(flags)
            .arg("--")
            .arg(std::env::current_exe().expect("this program"))
            .env("WAYPOST_TEST_ROLE", "subject")
            .env("SUBJECT_PLAN", plan)
            .env("SUBJECT_PORT", self.port.to_string())
            .env("SUBJECT_DIARY", self.house.path().join("diary"));
        command
    }

    fn start(&self, plan: &str, flags: &[&str]) -> Running {
        Running::start(&mut self.command(plan, flags))
    }

    fn diary(&self) -> Vec<String> {
        let diary = std::fs::read_to_string(self.house.path().join("diary"));
        diary
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn wait(&self, registered: bool) {
        let what = format!("registered is {registered}");
        until(&what, || {
            (self.house.has("orders") == registered).then_some(())
        });
    }
}

fn a_program_is_registered_once_its_port_accepts() {
    let case = Case::new();
    let flags = ["--version=1.2.3", "--metadata=zone=a", "--health=/health"];
    let running = case.start("serve", &flags);
    case.wait(true);
    let expected = format!(
        r#"[{{"name":"orders","version":"1.2.3","metadata":null,"endpoints":null,"nodes":[{{"id":"orders-1","address":"127.0.0.1:{}","metadata":{{"zone":"a"}}}}]}}]"#,
        case.port
    );
    let done = case.house.run(&["get", "orders", "-o", "json"]);
    assert_eq!(done.stdout, expected + "\n");
    drop(running);
}

fn a_stopped_program_is_deregistered_first() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let case = Case::new();
        let mut running = case.start("serve", &["--stop_timeout=500ms"]);
        case.wait(true);
        running.signal(signal);
        let code = running.end();
        assert!(!case.house.has("orders"));
        if signal == Signal::TERM {
            let diary = case.diary();
            assert_eq!(
                diary,
                ["start", "asked to stop while 0 of us are registered"]
            );
            assert_eq!(code, 7, "the program's own code");
        } else {
            assert_eq!(code, 128 + signal.as_raw());
        }
    }
}

fn a_crashed_program_is_restarted_three_times() {
    let case = Case::new();
    let mut running = case.start("crash:300:9", &["--restart", "on-failure:3"]);
    for _ in 0..4 {
        case.wait(true);
        case.wait(false);
    }
    assert_eq!(running.end(), 9);
    assert_eq!(case.diary(), ["start"; 4]);
    let (data, said) = running.rest();
    assert!(data.is_empty(), "{data:?}");
    assert!(
        said.iter().any(|line| line.contains("restart 3")),
        "{said:?}"
    );
}

fn a_hung_program_is_restarted_three_times() {
    let case = Case::new();
    let flags = [
        "--restart=on-failure:3",
        "--health=/health",
        "--hung_after=600ms",
    ];
    let mut running = case.start("hang:300", &flags);
    assert_eq!(running.end(), 137, "killed");
    assert_eq!(case.diary(), ["start", "hang"].repeat(4));
    assert!(!case.house.has("orders"));
}

fn an_unhealthy_program_is_deregistered_while_it_lives() {
    let case = Case::new();
    let mut running = case.start("hang:500", &["--health=/health", "--hung_after=300ms"]);
    case.wait(true);
    case.wait(false);
    running.said("is unhealthy");
    pause(Duration::from_millis(500));
    assert_eq!(
        case.diary(),
        ["start", "hang"],
        "without a restart policy it is left alone"
    );
    running.signal(Signal::TERM);
    assert_eq!(running.end(), 7);
}

fn a_program_that_ends_takes_its_record_along() {
    for (plan, flags, code) in [
        ("exit:400:0", &["--restart=on-failure"][..], 0),
        ("exit:400:5", &[], 5),
    ] {
        let case = Case::new();
        let mut running = case.start(plan, flags);
        case.wait(true);
        assert_eq!(running.end(), code, "{plan}");
        assert!(!case.house.has("orders"), "{plan}");
        assert_eq!(case.diary(), ["start"], "{plan}");
    }
}

fn a_program_without_a_port_is_never_registered() {
    let case = Case::new();
    let mut command = case.house.command(&["run", "--name=orders"]);
    command
        .arg(format!("--port={}", case.port))
        .args(["--", "/bin/sh", "-c", "sleep 1; exit 3"]);
    let watch = case.house.start(&["watch", "-o", "json"]);
    watch.line();
    let done = done(&mut command);
    assert_eq!((done.code, done.stdout.as_str()), (3, ""), "{done:?}");
    assert!(!case.house.has("orders"));
    watch.signal(Signal::TERM);
    let (told, _) = watch.rest();
    assert!(told.is_empty(), "{told:?}");
}

fn other_signals_reach_the_program() {
    let case = Case::new();
    let running = case.start("serve", &[]);
    case.wait(true);
    running.signal(Signal::USR1);
    until("the program noted it", || {
        (case.diary() == ["start", "user signal"]).then_some(())
    });
    assert!(case.house.has("orders"));
}

fn a_program_that_does_not_stop_is_killed() {
    let case = Case::new();
    let mut command = case
        .house
        .command(&["run", "--name=orders", "--stop_timeout=300ms"]);
    command.arg(format!("--port={}", case.port));
    command.args([
        "--",
        "/bin/sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    ]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "ready");
    let asked = now();
    running.signal(Signal::TERM);
    assert_eq!(running.end(), 137);
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}
