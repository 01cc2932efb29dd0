//! Certificates that are refused, and new ones.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::Registry;
use waypost_testkit::containers::Papers;
use waypost_testkit::proxy::Proxy;

use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::door::Door;
use crate::house::{House, Shape, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// The time between two looks at what is told.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is said of a server that wants to be shown a certificate.
const DEMANDED: &str = "demands a client certificate";

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    vec![Fault {
        name: "F27_certificates_are_refused",
        law: "of a certificate that is not to be trusted the peer and the reason are told, what is \
              known is kept, and a new one that is good heals",
        bound: bound!(CAP + EPSILON),
        shape: Shape {
            sealed: true,
            ..Shape::PROXIED
        },
        run: |house| Box::pin(refused(house)),
    }]
}

/// How a certificate comes to be shown.
type Show = fn(&Door, &Papers) -> Result<()>;

/// Returns the longest time from a new certificate until everything has healed.
async fn refused<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let stranger = Papers::new()?;
    house.door()?.papers().issue("namesake", &["localhost"])?;
    let all: [(&str, &str, Show); 4] = [
        ("expired", "has expired", |door, _| {
            door.show(door.papers(), "expired")
        }),
        ("of another name", "other names", |door, _| {
            door.show(door.papers(), "namesake")
        }),
        (
            "of an unknown authority",
            "not trusted",
            |door, stranger| door.show(stranger, "server"),
        ),
        ("that asks for another", DEMANDED, |door, _| door.demand()),
    ];
    let mut longest = Duration::ZERO;
    for (what, reason, show) in all {
        show(house.door()?, &stranger)?;
        let what = format!("shows a certificate {what}");
        house.history.note("server", what);
        house.ways()?.cut();
        let told = told(house, reason).await;
        house.door()?.renew()?;
        told?;
        house.history.note("server", "shows a new certificate");
        longest = longest.max(house.healed(patience(CAP + EPSILON)).await?);
    }
    house.bystanders_stay(1)?;
    seconds(longest)
}

/// Waits until whoever is on the way to the server says why not, and with whom.
async fn told<B: Backend>(house: &House<B>, reason: &str) -> Result<()> {
    let begun = Instant::now();
    let client = house.client_on_the_way().await?;
    let silent = loop {
        let silent = silent(house, &*client, reason).await?;
        if silent.is_empty() || begun.elapsed() > patience(CAP + EPSILON) {
            break silent;
        }
        sleep(LOOK_EVERY).await;
    };
    ensure(silent.is_empty(), || {
        format!("{reason:?} is not told: {}", silent.join("; "))
    })?;
    for reader in &house.readers {
        let candidates = reader.candidates();
        ensure(!reader.is_live() && candidates == 6, || {
            format!("{} has {candidates} candidates", reader.name())
        })?;
    }
    Ok(())
}

/// Who does not tell the reason, and what they tell instead.
async fn silent<B: Backend>(
    house: &House<B>,
    client: &dyn Registry,
    reason: &str,
) -> Result<Vec<String>> {
    let ways = house.ways()?;
    let mut told = Vec::new();
    let fresh = client
        .lookup(&service())
        .await
        .err()
        .map(|error| error.chain());
    told.push(("a new client", ways.readers(), fresh));
    // Whether one that let us in before demands a certificate now, or hangs up for reasons of its
    // own, cannot be told by who has none.
    if reason != DEMANDED {
        for reader in &house.readers {
            let error = reader.account().error.map(|error| error.chain());
            told.push((reader.name(), ways.readers(), error));
        }
        for report in house.agents[0].reports().into_values() {
            told.push(("agent-a", ways.agent(), report.cause));
        }
    }
    let is_silent = |(who, way, error): (&str, &Proxy, Option<String>)| {
        let error = error.unwrap_or_default();
        let is_told = error.contains(reason) && error.contains(&way.address());
        (!is_told).then(|| format!("{who} tells {error:?}"))
    };
    Ok(told.into_iter().filter_map(is_silent).collect())
}
