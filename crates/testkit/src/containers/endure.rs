//! What the clients of a registry must see while something is done to its server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{
    Address, Directory, DirectoryOptions, Error, Followed, Instance, Node, NodeId, Registration,
    RegistrationOptions, Registry, Result, ServiceName, State,
};

use super::Server;

/// How long anything may take that is to happen soon after the fault.
const SOON: Duration = Duration::from_secs(30);

/// Registers, looks up and follows a service of this name, lets `fault` happen, and sees that all
/// is well again by itself: the record is back, no reader ever saw nothing, and the watch tells of
/// what comes after.
///
/// # Errors
/// What the registry or `fault` says, or which of these does not hold.
///
/// # Cancel safety
/// Nothing is left but what `fault` leaves.
pub async fn endures(
    registry: &Arc<dyn Registry>,
    service: &str,
    fault: impl Future<Output = Result<()>>,
) -> Result<()> {
    let options = || RegistrationOptions::new().with_ttl(ttl(&**registry));
    let one = instance(service, 1)?;
    let kept = Registration::start(Arc::clone(registry), one.clone(), options())?;
    kept.live().await?;
    let found = registry.lookup(&one.service).await?;
    holds(found == [one.clone()], "a lookup finds the record")?;
    let patient = DirectoryOptions::new().with_connect_timeout(SOON);
    let directory = Directory::new(Arc::clone(registry), patient);
    let followed = directory.follow(one.service.clone()).await?;
    tokio::select! {
        done = fault => done?,
        never = always_seen(&followed, &one) => never?,
    }
    until("the record is back", &followed, &one, || async {
        let found = registry.lookup(&one.service).await;
        found.is_ok_and(|found| found == [one.clone()])
    })
    .await?;
    let other = instance(service, 2)?;
    let late = Registration::start(Arc::clone(registry), other.clone(), options())?;
    until("the watch tells of another", &followed, &one, || {
        let members = followed.members();
        std::future::ready(members.live().any(|live| **live == other))
    })
    .await?;
    // What a try that was given up has written is nobody's to release: it goes with its ttl.
    until("it is live again", &followed, &one, || {
        std::future::ready(kept.standing().borrow().state == State::Live)
    })
    .await?;
    kept.release().await?;
    late.release().await?;
    let left = registry.lookup(&one.service).await?;
    holds(
        left.is_empty(),
        &format!("what was released is gone: {left:?}"),
    )
}

/// The fault of [`endures`] that freezes the server until every record is dead.
///
/// # Errors
/// Docker's.
///
/// # Cancel safety
/// The server may stay frozen.
pub async fn frozen_past_the_ttl(server: &Server, registry: &dyn Registry) -> Result<()> {
    server.pause().await?;
    let slack = registry.profile().slack + Duration::from_secs(1);
    sleep(ttl(registry) + slack).await;
    server.unpause().await
}

fn ttl(registry: &dyn Registry) -> Duration {
    registry.profile().least_ttl.max(Duration::from_secs(2))
}

fn instance(service: &str, number: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("{service}-{number}"))?;
    let node = Node::new(id, Address::new("10.0.0.1:8080")?);
    Ok(Instance::new(ServiceName::new(service)?, node))
}

fn sees(followed: &Followed, one: &Instance) -> bool {
    followed.members().candidates().any(|seen| **seen == *one)
}

fn holds(condition: bool, what: &str) -> Result<()> {
    match condition {
        true => Ok(()),
        false => Err(Error::unavailable(format!("it is not so that {what}"))),
    }
}

/// Ends when a reader has nothing to call.
async fn always_seen(followed: &Followed, one: &Instance) -> Result<()> {
    loop {
        holds(sees(followed, one), "a reader sees the record all the time")?;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for `what`, while a reader always has something to call.
async fn until<F: Future<Output = bool>>(
    what: &str,
    followed: &Followed,
    one: &Instance,
    done: impl Fn() -> F,
) -> Result<()> {
    let start = Instant::now();
    while !done().await {
        holds(sees(followed, one), "a reader sees the record all the time")?;
        holds(start.elapsed() < SOON, what)?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
