//! A process that comes to the end of what the system gives it.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::time::{Duration, sleep};

use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, T, bound};
use crate::house::{House, Shape, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// How long no descriptor is to be had: the records are gone meanwhile.
const NONE_LEFT: Duration = Duration::from_secs(T.as_secs() + 5);

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    vec![Fault {
        name: "F40_no_descriptor_left",
        law: "a process that has no descriptor left for a connection says so, writes nothing by \
              halves, and heals when it has",
        bound: bound!(CAP + EPSILON),
        shape: Shape {
            follow: true,
            ..Shape::PROXIED
        },
        run: |house| Box::pin(exhausted(house)),
    }]
}

async fn exhausted<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let id = house.agents[0].pid().ok_or("the agent has ended")?;
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    // As many as a process has by itself, before it connects to anybody.
    let few = Rlimit {
        current: Some(3),
        ..getrlimit(Resource::Nofile)
    };
    let usual = prlimit(pid, Resource::Nofile, few)?;
    house.history.note("agent-a", "may open no descriptor");
    house.ways()?.cut_house();
    sleep(NONE_LEFT).await;
    let reports = house.agents[0].reports();
    prlimit(pid, Resource::Nofile, usual)?;
    house.history.note("agent-a", "may open descriptors again");
    for (node, report) in &reports {
        let cause = report.cause.as_deref().unwrap_or_default().to_lowercase();
        ensure(cause.contains("too many open files"), || {
            format!("{node} is {} for {cause:?}", report.state)
        })?;
    }
    let took = house.healed(patience(CAP + EPSILON)).await?;
    let client = house.client().await?;
    client.lookup(&service()).await?;
    let skipped = client.skipped().total();
    ensure(skipped == 0, || format!("{skipped} records are no records"))?;
    house.bystanders_stay(1)?;
    seconds(took)
}
