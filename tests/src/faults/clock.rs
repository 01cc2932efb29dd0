//! The wall clock of a process jumps.

use tokio::time::sleep;

use crate::backend::Backend;
use crate::bounds::{NONE, T, bound};
use crate::house::{House, Shape};
use crate::{Result, ensure};

use super::owner::absence;
use super::{Fault, seconds};

/// Where the clock is put, in seconds from the right time, one after the other.
const JUMPS: [i64; 5] = [3_600, -3_600, 86_400, -86_400, 0];

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    vec![Fault {
        name: "F29_wall_clock_jumps",
        law: "a process whose wall clock jumps by an hour or a day is never removed, and writes \
              nothing anew",
        bound: bound!(NONE),
        shape: Shape {
            clock: true,
            follow: true,
            ..Shape::PLAIN
        },
        run: |house| Box::pin(jumps(house)),
    }]
}

async fn jumps<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let clock = house.clock()?;
    let pid = house.agents[0].pid().ok_or("the agent has ended")?;
    ensure(clock.is_of(pid), || "the agent has a clock of its own")?;
    for jump in JUMPS {
        clock.set(jump).await?;
        let what = format!("is {jump} s from the right time");
        house.history.note("clock", what);
        // Long enough for a renewal.
        sleep(T / 2).await;
    }
    // What was not renewed for fear of the clock is gone by then.
    sleep(T + B::SLACK).await;
    for (node, report) in house.agents[0].reports() {
        ensure(report.state == "live", || format!("{node} is {report:?}"))?;
    }
    for watched in &house.watched {
        for node in house.nodes(0) {
            let writes = watched.writes(node);
            ensure(writes == 0, || format!("{node} was written {writes} times"))?;
        }
    }
    house.bystanders_stay(1)?;
    seconds(absence(house))
}
