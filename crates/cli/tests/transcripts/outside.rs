//! A binary with a registry of its own: the house has never heard of it.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use libtest_mimic::Trial;
use waypost::{
    Address, BoxWatcher, ConnectFuture, Driver, Drivers, Error, ErrorKind, Event, Instance,
    InstanceKey, Lease, Node, NodeId, Profile, RegisterOptions, Registry, Result, ServiceName,
    SkipLog, Target, WatchScope,
};

use crate::house::{Done, clean, done};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "outside",
        &[
            (
                "a_registry_of_another_crate_is_chosen_by_its_name",
                a_registry_of_another_crate_is_chosen_by_its_name,
            ),
            (
                "a_registry_that_is_down_or_refuses_has_its_code",
                a_registry_that_is_down_or_refuses_has_its_code,
            ),
            ("a_lost_watch_is_begun_anew", a_lost_watch_is_begun_anew),
        ],
    )
}

/// The other binary's main.
pub(crate) fn main() -> ExitCode {
    waypost_cli::run(Drivers::builtin().with(&MINE))
}

const PROFILE: Profile = Profile {
    driver: "mine",
    least_ttl: Duration::from_secs(1),
    slack: Duration::ZERO,
    writable: true,
    owned: true,
    tells_loss: false,
    native_watch: true,
    remote: true,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

const MINE: Driver = Driver {
    name: "mine",
    summary: "a registry of somebody else",
    default_port: None,
    default_address: "",
    profile: PROFILE,
    options: &[],
    connect,
};

fn connect(target: Target) -> ConnectFuture {
    let mood = target.addresses().first().cloned().unwrap_or_default();
    Box::pin(std::future::ready(Ok(Arc::new(Mine {
        mood,
        watches: AtomicU32::new(0),
        skipped: SkipLog::new(),
    }) as Arc<dyn Registry>)))
}

/// Always holds one node of `orders`, if it is in the mood.
#[derive(Debug)]
struct Mine {
    mood: String,
    watches: AtomicU32,
    skipped: SkipLog,
}

impl Mine {
    fn answer(&self) -> Result<Arc<Instance>> {
        let error = |kind| Err(Error::new(kind, "no answer today"));
        match self.mood.as_str() {
            "down" => error(ErrorKind::Unavailable),
            "refusing" => error(ErrorKind::Denied),
            "slow" => error(ErrorKind::Timeout),
            _ => {
                let node = Node::new(NodeId::new("orders-1")?, Address::new("127.0.0.1:80")?);
                Ok(Arc::new(Instance::new(ServiceName::new("orders")?, node)))
            }
        }
    }
}

#[async_trait]
impl Registry for Mine {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(&self, _: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>> {
        Err(self
            .answer()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Denied, "read only")))
    }

    async fn deregister(&self, _: &InstanceKey) -> Result<()> {
        self.answer().map(|_| ())
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let there = self.answer()?;
        Ok(if *service == there.service {
            vec![(*there).clone()]
        } else {
            Vec::new()
        })
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        Ok(vec![self.answer()?.service.clone()])
    }

    async fn watch(&self, _: WatchScope) -> Result<BoxWatcher> {
        // A registry that comes back is often not there at the first call.
        let calls = self.watches.fetch_add(1, Ordering::Relaxed);
        if self.mood == "flaky" && calls % 2 == 1 {
            return Err(Error::unavailable("not back yet"));
        }
        let snapshot = Ok(Event::Snapshot(vec![self.answer()?]));
        let lost = Err(Error::unavailable("the connection broke"));
        let events = if self.mood == "flaky" {
            vec![snapshot, lost]
        } else {
            vec![snapshot]
        };
        Ok(Box::pin(stream::iter(events)))
    }
}

fn other(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    clean(&mut command);
    command.env("WAYPOST_TEST_ROLE", "outside").args(arguments);
    command
}

fn run(arguments: &[&str]) -> Done {
    done(&mut other(arguments))
}

fn a_registry_of_another_crate_is_chosen_by_its_name() {
    let done = run(&["services", "--registry=mine", "--json"]);
    assert_eq!(
        done.stdout,
        "[{\"name\":\"orders\",\"versions\":[\"latest\"],\"nodes\":1}]\n"
    );
    assert_eq!(
        run(&["get", "orders", "-registry", "mine", "-o", "name"]).stdout,
        "orders/orders-1\n"
    );
    let done = run(&["services", "--registry=mien"]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("did you mean `mine`?"),
        "{}",
        done.stderr
    );
    let doctor = run(&["doctor", "--registry=mine", "--read_only"]);
    assert!(
        doctor.stdout.contains("! addresses others cannot dial"),
        "{}",
        doctor.stdout
    );
    let once = run(&[
        "register",
        "--once",
        "--registry=mine",
        &crate::house::service("a", 1),
    ]);
    assert_eq!(once.code, 2, "{once:?}");
}

fn a_registry_that_is_down_or_refuses_has_its_code() {
    for mood in ["down", "refusing", "slow"] {
        let address = format!("--registry_address={mood}");
        let json = crate::house::service("a", 1);
        for line in [
            &["services"][..],
            &["get", "orders"],
            &["describe", "orders", "--json"],
            &["watch"],
            &["deregister", "orders", "orders-1"],
            &["register", &json],
        ] {
            let mut command = other(line);
            let done = done(command.args(["--registry=mine", &address]));
            assert_eq!(
                (done.code, done.stdout.as_str()),
                (3, ""),
                "{mood} {line:?} {done:?}"
            );
            let error = done.stderr.lines().last().unwrap_or_default();
            assert!(error.starts_with("error: mine: "), "{error}");
            assert!(error.ends_with("no answer today"), "{error}");
        }
        let doctor = run(&["doctor", "--registry=mine", &address, "--json"]);
        assert_eq!(doctor.code, 3, "{doctor:?}");
        assert!(
            doctor.stdout.starts_with(r#"{"status":"unreachable""#),
            "{}",
            doctor.stdout
        );
    }
}

fn a_lost_watch_is_begun_anew() {
    let mut command = other(&[
        "watch",
        "--json",
        "--registry=mine",
        "--registry_address=flaky",
    ]);
    let done = done(command.arg("--timeout=6s"));
    assert_eq!(done.code, 124, "{done:?}");
    assert_eq!(
        done.stdout.lines().count(),
        1,
        "an equal snapshot tells nothing: {done:?}"
    );
    let lost = "watch lost: ";
    assert!(done.stderr.matches(lost).count() >= 2, "{}", done.stderr);
    assert!(done.stderr.contains("watching again"), "{}", done.stderr);
}
