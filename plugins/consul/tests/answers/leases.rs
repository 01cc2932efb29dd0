//! Registering and renewing, as several versions answer it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use waypost_core::{ErrorKind, RegisterOptions, Registry, Result};

use crate::script::{Agent, Answer, Asked, at, instance, open, says};

const TTL: Duration = Duration::from_secs(10);

/// An agent that keeps one record, and can be told to answer otherwise.
#[derive(Clone, Default)]
struct Keeps {
    record: Arc<Mutex<Option<Value>>>,
    says: Arc<Mutex<Vec<(&'static str, Answer)>>>,
}

impl Keeps {
    fn answer(&self, asked: &Asked) -> Answer {
        let said = self.says.lock().expect("lock");
        if let Some((_, answer)) = said.iter().find(|(part, _)| asked.line.contains(part)) {
            return answer.clone();
        }
        let mut record = self.record.lock().expect("lock");
        let service = record.as_ref().map(|record| {
            let mut service = record.clone();
            service["Service"] = record["Name"].clone();
            service
        });
        let check = |record: &Value| {
            json!([{"CheckID": record["Check"]["CheckID"], "Status": "passing",
                "Notes": record["Check"]["Notes"]}])
        };
        match asked.line.as_str() {
            line if line.contains("service/register") => {
                *record = serde_json::from_str(&asked.body).ok();
                says(200, "")
            }
            line if line.contains("service/deregister") => {
                *record = None;
                says(200, "")
            }
            line if line.contains("agent/health") => match (service, &*record) {
                (Some(service), Some(record)) => says(
                    200,
                    json!({"AggregatedStatus": "passing", "Service": service, "Checks": check(record)}),
                ),
                _ => says(
                    404,
                    json!({"AggregatedStatus": "critical", "Service": null, "Checks": null}),
                ),
            },
            line if line.contains("health/service") => match (service, &*record) {
                (Some(service), Some(record)) => at(
                    "x-consul-index: 7\r\n",
                    json!([{"Node": {"Node": "m1", "Address": "10.0.0.9"}, "Service": service,
                        "Checks": check(record)}]),
                ),
                _ => at("x-consul-index: 8\r\n", "[]"),
            },
            line if line.contains("agent/service/orders-1") => match service {
                Some(service) => at("x-consul-contenthash: 1\r\n", service),
                None => says(404, "unknown service ID: orders-1"),
            },
            line if line.contains("authorize") => says(401, "ACL support disabled"),
            _ => says(200, ""),
        }
    }

    async fn start(&self) -> Agent {
        let keeps = self.clone();
        Agent::start(move |asked| keeps.answer(asked)).await
    }

    fn say(&self, part: &'static str, answer: Answer) {
        self.says.lock().expect("lock").push((part, answer));
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        change(
            self.record
                .lock()
                .expect("lock")
                .as_mut()
                .expect("a record"),
        );
    }
}

async fn register(registry: &dyn Registry) -> Result<Box<dyn waypost_core::Lease>> {
    registry
        .register(&instance(), RegisterOptions::new(TTL))
        .await
}

#[tokio::test]
async fn a_check_that_is_unknown_is_a_lost_lease_in_every_version() {
    for (status, text) in [
        (
            500,
            "CheckID \"service:orders-1\" does not have associated TTL",
        ),
        (500, "Unknown check \"service:orders-1\""),
        (
            404,
            "Unknown check ID \"service:orders-1\". Ensure that the check ID is passed",
        ),
    ] {
        let keeps = Keeps::default();
        let agent = keeps.start().await;
        let registry = agent.open("").await;
        let mut lease = register(&*registry).await.expect("lease");
        lease.renew().await.expect("renewed");
        keeps.say("check/pass", says(status, text));
        let error = lease.renew().await.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
        // Registering does not stop at it either: the record is written anew.
        let written = agent.count("service/register");
        register(&*registry).await.expect("registered anew");
        assert_eq!(agent.count("service/register"), written + 1);
    }
}

#[tokio::test]
async fn a_refusal_is_denied_and_an_agent_without_servers_unavailable() {
    for (part, status, text, kind) in [
        (
            "register",
            403,
            "Permission denied: Missing service:write on orders",
            ErrorKind::Denied,
        ),
        (
            "register",
            403,
            "Permission denied: token with AccessorID '1' lacks permission 'service:write'",
            ErrorKind::Denied,
        ),
        ("agent/health", 403, "ACL not found", ErrorKind::Denied),
        (
            "health/service/orders",
            500,
            "No cluster leader",
            ErrorKind::Unavailable,
        ),
        (
            "agent/health",
            429,
            "Your IP is issuing too many concurrent connections, please rate limit your calls",
            ErrorKind::Throttled,
        ),
        (
            "register",
            400,
            "Invalid check: TTL must be > 0",
            ErrorKind::Config,
        ),
    ] {
        let keeps = Keeps::default();
        keeps.say(part, says(status, text));
        let agent = keeps.start().await;
        let error = register(&*agent.open("").await).await.expect_err(text);
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.operation(), Some("register"));
    }
}

#[tokio::test]
async fn what_is_there_unchanged_is_only_renewed() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let registry = agent.open("").await;
    let mut lease = register(&*registry).await.expect("lease");
    lease.update(&instance()).await.expect("unchanged");
    let again = register(&*registry).await.expect("lease");
    assert_eq!(agent.count("service/register"), 1);
    assert_eq!(agent.count("check/pass"), 1);
    // The former lease of the same process is lost, and its end is nobody's.
    let error = lease.renew().await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    lease.revoke().await.expect("nothing to do");
    assert_eq!(agent.count("deregister"), 0);
    again.revoke().await.expect("removed");
    assert_eq!(agent.count("deregister"), 1);
}

#[tokio::test]
async fn somebody_elses_record_is_neither_renewed_nor_removed() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let registry = agent.open("").await;
    let mut lease = register(&*registry).await.expect("lease");
    keeps.change(|record| record["Meta"]["waypost-owner"] = json!("0123456789abcdef-1"));
    for error in [
        lease.renew().await.expect_err("lost"),
        lease
            .update(&instance().with_version("2"))
            .await
            .expect_err("lost"),
        lease.lost().await,
    ] {
        assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    }
    lease.revoke().await.expect("nothing to do");
    for part in ["check/pass", "deregister"] {
        assert_eq!(agent.count(part), 0, "{part}");
    }
    assert_eq!(agent.count("service/register"), 1);
}

#[tokio::test]
async fn the_next_agent_is_asked_when_one_is_gone() {
    let (keeps, other) = (Keeps::default(), Keeps::default());
    let (agent, second) = (keeps.start().await, other.start().await);
    let url = format!("consul://127.0.0.1:1,{},{}", agent.address, second.address);
    let registry = crate::script::open(&url).await;
    let mut lease = register(&*registry).await.expect("lease");
    assert_eq!((agent.count("service/register"), second.count("")), (1, 0));
    // A renewal that its agent does not answer moves the lease to the next.
    keeps.say("", Answer::Closes);
    lease.renew().await.expect("renewed elsewhere");
    assert_eq!(second.count("service/register"), 1);
    lease.renew().await.expect("renewed there");
    assert_eq!(
        (agent.count("check/pass"), second.count("check/pass")),
        (0, 1)
    );
    lease
        .update(&instance().with_version("2"))
        .await
        .expect("updated there");
    lease.revoke().await.expect("revoked there");
    assert_eq!(second.count("service/deregister"), 1);
}

#[tokio::test]
async fn an_agent_without_a_leader_is_left_when_another_has_one() {
    let (keeps, other) = (Keeps::default(), Keeps::default());
    let (agent, second) = (keeps.start().await, other.start().await);
    let url = format!("consul://{},{}", agent.address, second.address);
    let registry = crate::script::open(&url).await;
    let mut lease = register(&*registry).await.expect("lease");
    // During an election nobody has one.
    keeps.say("status/leader", says(200, r#""""#));
    lease.renew().await.expect("renewed here");
    assert_eq!(second.count("service/register"), 0);
    other.say("status/leader", says(200, r#""10.0.0.2:8300""#));
    lease.renew().await.expect("renewed elsewhere");
    assert_eq!(second.count("service/register"), 1);
    // The former agent is asked for nothing but to let its copy go.
    let passed = agent.count("check/pass");
    lease.renew().await.expect("renewed there");
    assert_eq!(agent.count("check/pass"), passed);
}

#[tokio::test]
async fn nothing_is_written_while_there_is_no_leader_and_renewals_go_on() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let registry = agent.open("").await;
    let mut lease = register(&*registry).await.expect("lease");
    keeps.say("status/leader", says(200, r#""""#));
    let changed = instance().with_version("2");
    let options = RegisterOptions::new(TTL);
    for error in [
        lease.update(&changed).await.expect_err("no leader"),
        registry
            .register(&changed, options)
            .await
            .expect_err("no leader"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("no leader"), "{error}");
    }
    assert_eq!(agent.count("service/register"), 1);
    let mut lease = register(&*registry).await.expect("what is there stays");
    lease.renew().await.expect("renewed");
}

#[tokio::test]
async fn what_the_servers_were_not_told_of_is_told_again() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let registry = agent.open("").await;
    keeps.say("/v1/health/service", at("x-consul-index: 8\r\n", "[]"));
    for writes in 1..3 {
        let error = register(&*registry).await.expect_err("untold");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(agent.count("service/register"), writes);
    }
    let asked = agent.asked();
    let bodies = asked.iter().map(|asked| asked.body.as_str());
    let written: Vec<&str> = bodies.filter(|body| body.contains("Meta")).collect();
    assert_eq!(written[0], written[1], "as the same record");
}

#[tokio::test]
async fn a_renewal_that_was_given_up_moves_the_next_one() {
    let (keeps, other) = (Keeps::default(), Keeps::default());
    let (agent, second) = (keeps.start().await, other.start().await);
    let url = format!("consul://{},{}", agent.address, second.address);
    let registry = crate::script::open(&url).await;
    let mut lease = register(&*registry).await.expect("lease");
    keeps.say("", Answer::Silence);
    // As the keeper does, whose patience is a third of the ttl.
    let patience = Duration::from_millis(200);
    assert!(timeout(patience, lease.renew()).await.is_err());
    let moved = timeout(patience, lease.renew()).await;
    moved
        .expect("without asking the silent one")
        .expect("renewed");
    assert_eq!(second.count("service/register"), 1);
    // And so does a registration.
    let registered = timeout(patience, register(&*registry)).await;
    registered.expect("at the second").expect("registered");
}

#[tokio::test]
async fn the_token_is_in_the_header_and_nowhere_else() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let url = format!("consul://:S3CR3T@{}", agent.address);
    let registry = crate::script::open(&url).await;
    let mut lease = register(&*registry).await.expect("lease");
    lease.renew().await.expect("renewed");
    assert!(!format!("{registry:?}{lease:?}").contains("S3CR3T"));
    lease.revoke().await.expect("revoked");
    let asked = agent.asked();
    assert!(asked.len() >= 5);
    for asked in asked {
        assert!(
            asked.head.contains("x-consul-token: S3CR3T"),
            "{}",
            asked.head
        );
        assert!(!asked.line.contains("S3CR3T") && !asked.body.contains("S3CR3T"));
    }
    keeps.say("", Answer::Closes);
    let error = register(&*registry).await.expect_err("gone");
    assert!(!format!("{error:?}").contains("S3CR3T"));
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_asked_by_renewals_alone() {
    let keeps = Keeps::default();
    let agent = keeps.start().await;
    let registry = agent.open("").await;
    let mut lease = register(&*registry).await.expect("lease");
    keeps.say("", Answer::Says(503, "retry-after: 7\r\n", "busy".into()));
    let error = lease.renew().await.expect_err("busy");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error}");
    let asked = agent.count("");
    let told = timeout(Duration::from_secs(2), lease.lost()).await;
    assert!(told.is_err(), "{told:?}");
    assert_eq!(agent.count(""), asked);
    keeps.says.lock().expect("lock").clear();
    lease.renew().await.expect("renewed");
    keeps.change(|record| record["Meta"]["waypost-owner"] = json!("0123456789abcdef-1"));
    assert_eq!(lease.lost().await.kind(), ErrorKind::LeaseLost);
}

#[tokio::test]
async fn what_an_agent_of_several_has_expired_is_written_anew_at_once() {
    for are_several in [false, true] {
        let keeps = Keeps::default();
        let (agent, other) = (keeps.start().await, Keeps::default().start().await);
        let url = match are_several {
            true => format!("consul://{},{}", agent.address, other.address),
            false => format!("consul://{}", agent.address),
        };
        let mut lease = register(&*open(&url).await).await.expect("lease");
        let record = keeps.record.lock().expect("lock").clone();
        let mut service = record.expect("a record");
        service["Service"] = service["Name"].clone();
        let check = &service["Check"]["CheckID"];
        keeps.say(
            "agent/health",
            says(
                503,
                json!({"AggregatedStatus": "critical", "Service": service,
                    "Checks": [{"CheckID": check, "Status": "critical"}]}),
            ),
        );
        let passed = agent.count("check/pass");
        let renewed = lease.renew().await;
        if are_several {
            renewed.expect("renewed where it was");
            assert_eq!(agent.count("check/pass"), passed + 1);
        } else {
            // The one who keeps it registers it anew.
            let error = renewed.expect_err("expired");
            assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
        }
    }
}

/// The checks of the datacenter: ours, and another one of the service that was written at `index`.
fn checks(index: u64) -> Value {
    let check = |id: &str, index: u64| {
        json!({"Node": "m1", "CheckID": format!("service:{id}"), "Status": "passing",
            "ServiceID": id, "ServiceName": "orders", "ModifyIndex": index})
    };
    json!([check("orders-1", 3), check("orders-2", index)])
}

#[tokio::test]
async fn beyond_the_limit_neither_beats_nor_the_changes_of_others_cost_a_request() {
    let keeps = Keeps::default();
    let others = keeps.clone();
    let agent = Agent::start(move |asked| match asked.line.as_str() {
        line if line.contains("catalog/services") => {
            at("x-consul-index: 7\r\n", json!({"orders": []}))
        }
        line if !line.contains("state/any") => others.answer(asked),
        // Two changes, and then no more.
        line if line.contains("index=7") => at("x-consul-index: 8\r\n", checks(8)),
        line if line.contains("index=8") => at("x-consul-index: 9\r\n", checks(9)),
        line if line.contains("index=9") => Answer::Silence,
        _ => at("x-consul-index: 7\r\n", checks(7)),
    })
    .await;
    let registry = agent.open("queries=0").await;
    let mut lease = register(&*registry).await.expect("lease");
    let [mut looks, mut beats] = [agent.count("agent/health"), 0];
    for beat in 0..5 {
        let lost = timeout(Duration::from_millis(200), lease.lost()).await;
        assert!(lost.is_err(), "{lost:?}");
        // Before the first scan it was not known to be ours.
        looks += usize::from(beat == 0);
        assert_eq!(agent.count("agent/health"), looks + beats, "{beat}");
        lease.renew().await.expect("renewed");
        beats += 1;
    }
    assert_eq!(agent.count("state/any"), 4, "one scan, and one a change");
}

#[tokio::test]
async fn beyond_the_limit_a_record_that_vanished_is_a_lost_lease() {
    let keeps = Keeps::default();
    let others = keeps.clone();
    let (tell, told) = tokio::sync::watch::channel(false);
    let agent = Agent::start(move |asked| match asked.line.as_str() {
        line if line.contains("catalog/services") => {
            at("x-consul-index: 7\r\n", json!({"orders": []}))
        }
        line if !line.contains("state/any") => others.answer(asked),
        line if line.contains("index=8") => Answer::Silence,
        line if line.contains("index=7") && *told.borrow() => at("x-consul-index: 8\r\n", "[]"),
        line if line.contains("index=7") => says(500, "rpc error making call: EOF"),
        _ => at("x-consul-index: 7\r\n", checks(7)),
    })
    .await;
    let registry = agent.open("queries=0").await;
    let mut lease = register(&*registry).await.expect("lease");
    // The shared query fails, which the next renewal mends.
    let lost = timeout(Duration::from_millis(500), lease.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    *keeps.record.lock().expect("lock") = None;
    tell.send_replace(true);
    let error = lease.renew().await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
    let lost = timeout(Duration::from_secs(5), lease.lost()).await;
    let error = lost.expect("told");
    assert_eq!(error.kind(), ErrorKind::LeaseLost, "{error}");
}
