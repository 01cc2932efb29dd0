//! How the house's keeper tries again, over this registry.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use waypost_core::{ErrorKind, Registration, RegistrationOptions};

use super::table;
use crate::check::{Check, Stop, ensure};
use crate::context::{Context, MARGIN, instance, instances};
use crate::faults::{Fault, Faulty, Switch};
use crate::reader::BACKOFF;
use crate::service::is_live;

/// How long the keeper is left with a registry that fails.
const OUTAGE: Duration = Duration::from_secs(15);

table! {
    the_keeper_never_gives_up ["L7"]
        "Whatever a registry answers, and however often, the keeper goes on and heals."
    a_fleet_does_not_return_as_one_blow ["L8"]
        "When all leases are lost at once, the writes that follow are spread."
}

async fn the_keeper_never_gives_up(cx: &Context) -> Check {
    cx.needs_writing()?;
    use ErrorKind::*;
    let kinds = [
        Config,
        Unsupported,
        NotFound,
        LeaseLost,
        Denied,
        Unavailable,
        Timeout,
        Throttled,
        Corrupt,
        Closed,
        Internal,
    ];
    let mut faults: Vec<Fault> = kinds.map(Fault::Fail).to_vec();
    faults.push(Fault::Hang);
    let tried = (0..)
        .zip(faults)
        .map(|(number, fault)| outlives(cx, number, fault));
    join_all(tried).await.into_iter().collect()
}

/// One registration meets `fault` for a long while, once when live and once when new.
async fn outlives(cx: &Context, number: u32, fault: Fault) -> Check {
    let (registry, switch) = Faulty::over(cx.open().await?);
    let options = RegistrationOptions::new().with_ttl(cx.ttl());
    let start = |number| {
        Registration::start(
            Arc::clone(&registry),
            instance("orders", number)?,
            options.clone(),
        )
        .map_err(Stop::from)
    };
    let before = start(number)?;
    is_live(&before, cx.told_within()).await?;
    let live_calls = switch.calls().len();
    switch.fail(fault);
    let after = start(100 + number)?;
    sleep(OUTAGE).await;
    let tries = switch.calls().len() - live_calls;
    switch.heal();
    // Two registrations, a try in five seconds each at the very least.
    ensure!(
        tries >= 4,
        "in {OUTAGE:?} of {fault:?} two registrations tried {tries} times"
    );
    let bound = BACKOFF + MARGIN;
    let (one, other) = tokio::join!(is_live(&before, bound), is_live(&after, bound));
    match one.and(other) {
        Err(Stop::Failed(text)) => Err(Stop::Failed(format!(
            "after {OUTAGE:?} of {fault:?}: {text}"
        ))),
        through => through,
    }
}

async fn a_fleet_does_not_return_as_one_blow(cx: &Context) -> Check {
    cx.needs_writing()?;
    let ttl = cx.profile().least_ttl.max(Duration::from_secs(9));
    let (registry, switch) = Faulty::over(cx.open().await?);
    let options = RegistrationOptions::new().with_ttl(ttl);
    let mut fleet = Vec::new();
    for record in instances("orders", FLEET)? {
        fleet.push(Registration::start(
            Arc::clone(&registry),
            record,
            options.clone(),
        )?);
    }
    for registration in &fleet {
        is_live(registration, cx.told_within() + MARGIN).await?;
    }
    let granted = fleet[0].standing().borrow().ttl.unwrap_or(ttl);
    let interval = granted / 3;
    // What the start wrote is not what is judged.
    sleep(interval / 4).await;
    let since = Instant::now();
    switch.lose_leases();
    sleep(interval * 2).await;
    for registration in &fleet {
        is_live(registration, MARGIN).await?;
    }
    spread(&switch, since, interval)
}

/// Registrations of the fleet.
const FLEET: u32 = 100;

fn spread(switch: &Switch, since: Instant, interval: Duration) -> Check {
    let calls: Vec<_> = switch
        .calls()
        .into_iter()
        .filter(|call| call.at >= since)
        .collect();
    let registered = calls
        .iter()
        .filter(|call| call.operation == "register")
        .count();
    ensure!(
        registered >= FLEET as usize,
        "of {FLEET} lost records {registered} were written again"
    );
    let writes = calls
        .iter()
        .filter(|call| matches!(call.operation, "register" | "renew"));
    let writes: Vec<_> = writes.map(|call| call.at - since).collect();
    match blow(&writes, interval) {
        None => Ok(()),
        Some(text) => Err(Stop::Failed(text)),
    }
}

/// Finds more than three times the even rate, which is 30 of 100 in a tenth of an interval, and as
/// many again for what chance (a standard deviation is 5) and a loaded machine add. A fleet that is
/// not spread writes all 100 in one.
fn blow(writes: &[Duration], interval: Duration) -> Option<String> {
    let (window, most) = (interval / 10, FLEET as usize * 3 / 10 * 2);
    writes.iter().enumerate().find_map(|(number, start)| {
        let later = writes.iter().skip(number);
        let together = later.take_while(|at| **at < *start + window).count();
        (together > most).then(|| {
            format!(
                "{together} of {FLEET} wrote within {window:?}, {start:?} after all were lost; \
                 expected at most {most}"
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_returns_at_once_is_a_blow_and_a_spread_one_is_none() {
        let interval = Duration::from_secs(3);
        let over = |span: u32| {
            (0..FLEET)
                .map(|n| interval / span * n / FLEET)
                .collect::<Vec<_>>()
        };
        assert_eq!(blow(&over(3), interval), None);
        assert!(blow(&over(10), interval).is_some());
        assert!(blow(&vec![Duration::ZERO; FLEET as usize], interval).is_some());
    }
}
