//! Something else answers in the server's place.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::Backend;
use crate::bounds::{B as CAP, Bound, EPSILON};
use crate::house::{House, Shape};
use crate::impostor::{Impostor, Manner};
use crate::{Result, ensure};

use super::{Fault, patience};

/// How long it answers errors.
const ERRORS: Duration = Duration::from_secs(20);
/// How long it answers each kind of nonsense.
const NONSENSE: Duration = Duration::from_secs(3);
/// Who asks there: one process with two nodes, two directories.
const ASKERS: usize = 4;

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let bound = Bound {
        formula: "1 request/s a registration or directory",
        limit: 1.0,
        unit: "1/s",
    };
    let law = "a server that answers errors to everything is asked once a second at most";
    let fault = |name, run| Fault {
        name,
        law,
        bound,
        shape: Shape::PROXIED,
        run,
    };
    vec![
        fault("F23_grpc_errors_to_everything", |house| {
            Box::pin(errors(house, [Manner::Grpc(14), Manner::Grpc(8)]))
        }),
        fault("F23_http_errors_to_everything", |house| {
            Box::pin(errors(house, [Manner::Status(503), Manner::Status(429)]))
        }),
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

async fn errors<B: Backend>(house: &mut House<B>, manners: [Manner; 2]) -> Result<f64> {
    let impostor = Impostor::start(manners[0]).await?;
    let begun = Instant::now();
    for manner in manners {
        impostor.set(manner);
        let what = format!("an impostor that answers {manner:?}");
        house.ways()?.lead_house(&what, impostor.address());
        sleep(ERRORS / 2).await;
    }
    let spent = begun.elapsed().as_secs_f64();
    let requests = impostor.requests().len();
    house
        .history
        .note("impostor", format!("answered {requests} requests"));
    ensure(requests > 0, || "nobody asked the impostor")?;
    let rate = requests as f64 / ASKERS as f64 / spent;
    returns(house).await?;
    Ok(rate)
}

async fn nonsense<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let impostor = Impostor::start(Manner::Noise).await?;
    let pid = house.agents[0].pid().ok_or("the agent has ended")?;
    let before = memory(pid, "VmRSS:")?;
    // The kernel's account of the peak begins anew.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    for manner in [
        Manner::Noise,
        Manner::Page(200),
        Manner::EndlessPage,
        Manner::Garbage,
        Manner::Truncated,
        Manner::Flood,
    ] {
        impostor.set(manner);
        let what = format!("an impostor that answers {manner:?}");
        house.ways()?.lead_house(&what, impostor.address());
        sleep(NONSENSE).await;
        for reader in &house.readers {
            ensure(!reader.is_live(), || {
                format!("{manner:?} was taken for an answer")
            })?;
            let candidates = reader.candidates();
            ensure(candidates == 6, || {
                format!("{manner:?} left {candidates} candidates")
            })?;
        }
    }
    let grown = memory(pid, "VmHWM:")?.saturating_sub(before) as f64 / 1000.0;
    returns(house).await?;
    Ok(grown)
}

async fn returns<B: Backend>(house: &House<B>) -> Result<()> {
    house.ways()?.renew();
    let took = house.healed(patience(CAP + EPSILON)).await?;
    ensure(took <= CAP + EPSILON, || {
        format!("healing took {took:?}, over {:?}", CAP + EPSILON)
    })?;
    house.bystanders_stay(1)
}

/// A line of a process's memory account, in kB.
fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let number = found.and_then(|text| text.split_whitespace().next());
    Ok(number.ok_or("no such line")?.parse()?)
}
