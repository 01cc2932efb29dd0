//! Something else answers by HTTP in the agent's place.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::Consul;
use crate::bounds::{B as CAP, Bound, EPSILON};
use crate::house::{House, Shape};
use crate::impostor::{Reply, Web};
use crate::{Result, ensure};

use super::super::answers::returns;
use super::super::{Fault, memory, patience};

/// How long each error is answered.
const EACH: Duration = Duration::from_secs(8);
/// How long each kind of nonsense, once the first process has asked for it.
const NONSENSE: Duration = Duration::from_millis(1500);
/// Who asks there: one process with two nodes, two directories.
const ASKERS: f64 = 4.0;
/// How long the errors ask to be left alone …
const PAUSE: Duration = Duration::from_secs(2);
/// … and as much less as two clocks' readings of one moment may differ.
const SLOP: Duration = Duration::from_millis(20);
const ASKS: &str = "retry-after: 2\r\n";

pub(super) fn faults() -> Vec<Fault<Consul>> {
    vec![
        Fault {
            name: "F23_errors_to_everything",
            law: "an agent that answers errors to everything is asked once a second at most, and \
                  not sooner than it says",
            bound: Bound {
                formula: "1 request/s a registration or directory",
                limit: 1.0,
                unit: "1/s",
            },
            shape: Shape::PROXIED,
            run: |house| Box::pin(errors(house)),
        },
        Fault {
            name: "F24_nonsense_answers",
            law: "answers that make no sense, or never end, cost neither what is known nor memory",
            bound: Bound {
                formula: "64 MB",
                limit: 64.0,
                unit: "MB",
            },
            shape: Shape {
                follow: true,
                ..Shape::PROXIED
            },
            run: |house| Box::pin(nonsense(house)),
        },
    ]
}

async fn errors(house: &mut House<Consul>) -> Result<f64> {
    let replies = [
        (500, "", "rpc error making call: EOF"),
        (503, ASKS, "rate limit exceeded, try again later"),
        (429, ASKS, "<html>Too Many Requests</html>"),
    ];
    let begun = Instant::now();
    let (mut requests, mut pauses) = (0, 0);
    for (status, headers, text) in replies {
        let web = Web::start(move |_| Reply::Says(status, headers, text.into())).await?;
        let what = format!("an impostor that answers {status}");
        house.ways()?.lead_house(&what, web.address());
        sleep(EACH).await;
        let asked = web.asked().len();
        house
            .history
            .note("impostor", format!("answered {asked} requests"));
        ensure(asked > 0, || format!("nobody asked for {status}"))?;
        if !headers.is_empty() {
            for node in house.nodes(0) {
                pauses += patient(&web, node)?;
            }
        }
        requests += asked;
    }
    ensure(pauses > 0, || "no owner asked twice")?;
    let rate = requests as f64 / ASKERS / begun.elapsed().as_secs_f64();
    returns(house).await?;
    Ok(rate)
}

/// Whether the owner of a node waited as long as it was told to, each time; tells how often it did.
fn patient(web: &Web, node: &str) -> Result<usize> {
    let times = web.times(&format!("/service/id/{node}"));
    for pair in times.windows(2) {
        let waited = pair[1] - pair[0];
        ensure(waited + SLOP >= PAUSE, || {
            format!("the owner of {node} was told to wait {PAUSE:?} and waited {waited:?}")
        })?;
    }
    Ok(times.len().saturating_sub(1))
}

async fn nonsense(house: &mut House<Consul>) -> Result<f64> {
    let html = "<!doctype html><title>Log in</title><h1>Log in to use this network</h1>";
    let half = r#"[{"Node":{"Node":"m1","Address":"10.0.0.9"},"Service":{"ID":"a1","Service":"or"#;
    let noise: Vec<u8> = (0..4096).map(|_| fastrand::u8(..)).collect();
    let json = "content-type: application/json\r\n";
    let replies = [
        ("bytes", Reply::Says(200, json, noise.into())),
        ("half a list", Reply::good(json, half)),
        ("half an answer", Reply::Half(half.into())),
        ("a page", Reply::good("content-type: text/html\r\n", html)),
        (
            "a list in a page",
            Reply::good("content-type: text/html\r\n", r#"["orders"]"#),
        ),
        ("another object", Reply::good(json, r#"{"orders":[]}"#)),
        ("one GiB", Reply::Flood),
        ("one GiB, packed", Reply::Packed),
        ("noise", Reply::Noise),
    ];
    let web = Web::start(|_| Reply::Silence).await?;
    let pid = house.agents[0].pid().ok_or("the agent has ended")?;
    let before = memory(pid, "VmRSS:")?;
    // The kernel's account of the peak begins anew.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    for (name, reply) in replies {
        web.set(move |_| reply.clone());
        let what = format!("an impostor that answers {name}");
        house.ways()?.lead_house(&what, web.address());
        asked(&web, name).await?;
        sleep(NONSENSE).await;
        for reader in &house.readers {
            ensure(!reader.is_live(), || {
                format!("{name} was taken for an answer")
            })?;
            let candidates = reader.candidates();
            ensure(candidates == 6, || {
                format!("{name} left {candidates} candidates")
            })?;
        }
        let grown = memory(pid, "VmHWM:")?.saturating_sub(before);
        house
            .history
            .note("agent-a", format!("has grown by {grown} kB"));
    }
    let grown = memory(pid, "VmHWM:")?.saturating_sub(before) as f64 / 1000.0;
    returns(house).await?;
    Ok(grown)
}

/// Waits until the first process has asked for a record of its own.
async fn asked(web: &Web, what: &str) -> Result<()> {
    let count = || web.times("/service/id/").len();
    let (before, begun) = (count(), Instant::now());
    while count() == before {
        ensure(begun.elapsed() < patience(CAP + EPSILON), || {
            format!("nobody asks for {what}")
        })?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
