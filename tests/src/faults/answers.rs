//! Something else answers in the server's place.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::backend::Backend;
use crate::bounds::{B as CAP, Bound, EPSILON};
use crate::house::{House, Shape};
use crate::impostor::{Answer, Impostor, Manner};
use crate::{Result, ensure};

use super::{Fault, Run, memory, patience};

/// How long it answers errors.
const ERRORS: Duration = Duration::from_secs(20);
/// How long it answers each kind of nonsense.
const NONSENSE: Duration = Duration::from_secs(3);
/// Who asks there: one process with two nodes, two directories.
const ASKERS: usize = 4;

/// What may answer in etcd's place.
pub(super) fn etcd<B: Backend>() -> Vec<Fault<B>> {
    vec![
        errors("F23_grpc_errors_to_everything", |house| {
            Box::pin(refused(house, [Manner::Grpc(14), Manner::Grpc(8)]))
        }),
        errors("F23_http_errors_to_everything", |house| {
            Box::pin(refused(house, [Manner::Status(503), Manner::Status(429)]))
        }),
        nonsense("F24_nonsense_answers", |house| {
            Box::pin(misled(
                house,
                &[
                    Manner::Noise,
                    Manner::Page(200),
                    Manner::EndlessPage,
                    Manner::Garbage,
                    Manner::Truncated,
                    Manner::Flood,
                ],
            ))
        }),
    ]
}

/// What may answer in ZooKeeper's place. Its client reads an answer of any length to its end, so
/// that nothing endless is among them.
pub(super) fn zookeeper<B: Backend>() -> Vec<Fault<B>> {
    vec![
        errors("F23_errors_to_everything", |house| {
            Box::pin(refused(
                house,
                [Manner::Session(Answer::Error), Manner::Hangup],
            ))
        }),
        nonsense("F24_nonsense_answers", |house| {
            Box::pin(misled(
                house,
                &[
                    Manner::Noise,
                    Manner::Page(200),
                    Manner::Session(Answer::Garbage),
                    Manner::Session(Answer::Truncated),
                ],
            ))
        }),
    ]
}

fn errors<B>(name: &'static str, run: Run<B>) -> Fault<B> {
    Fault {
        name,
        law: "a server that answers errors to everything is asked once a second at most",
        bound: Bound {
            formula: "1 request/s a registration or directory",
            limit: 1.0,
            unit: "1/s",
        },
        shape: Shape::PROXIED,
        run,
    }
}

fn nonsense<B>(name: &'static str, run: Run<B>) -> Fault<B> {
    Fault {
        name,
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
        run,
    }
}

async fn refused<B: Backend>(house: &mut House<B>, manners: [Manner; 2]) -> Result<f64> {
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

async fn misled<B: Backend>(house: &mut House<B>, manners: &[Manner]) -> Result<f64> {
    let impostor = Impostor::start(Manner::Noise).await?;
    let pid = house.agents[0].pid().ok_or("the agent has ended")?;
    let before = memory(pid, "VmRSS:")?;
    // The kernel's account of the peak begins anew.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    for &manner in manners {
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

/// Leads everybody back to the server, and waits until all is well.
pub(super) async fn returns<B: Backend>(house: &House<B>) -> Result<()> {
    house.ways()?.renew();
    let took = house.healed(patience(CAP + EPSILON)).await?;
    ensure(took <= CAP + EPSILON, || {
        format!("healing took {took:?}, over {:?}", CAP + EPSILON)
    })?;
    house.bystanders_stay(1)
}
