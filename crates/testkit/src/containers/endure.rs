//! What the clients of a registry must see while something is done to its server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{
    Address, Directory, DirectoryOptions, Error, Followed, Instance, Node, NodeId, Registration,
    RegistrationOptions, Registry, Result, ServiceName,
};

use super::{Papers, Server};

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

/// Gives the server a new certificate, which its clients take without noticing; one that has
/// expired, which they refuse in a line with the peer; and the good one again, which they take.
///
/// `files` names the files of the server that hold `<file>.pem`. `refused` is the registry that meets
/// the expired one; it may be another for one that keeps a connection.
///
/// # Errors
/// What `files` or Docker says, or which of these does not hold.
///
/// # Cancel safety
/// The server may be down, or show any of them.
pub async fn takes_new_certificates(
    (registry, refused): (&Arc<dyn Registry>, &dyn Registry),
    server: &Server,
    papers: &Papers,
    files: impl Fn(&str) -> Result<Vec<(String, String)>>,
) -> Result<()> {
    let shown = server.certificate().await?;
    papers.issue("server", &["127.0.0.1"])?;
    let fresh = files("server")?;
    endures(registry, "rotated", server.restart_with(&fresh)).await?;
    let differs = shown != server.certificate().await?;
    holds(differs, "the server shows another certificate")?;

    server.restart_with(&files("expired")?).await?;
    let service = ServiceName::new("rotated")?;
    let told = match refused.lookup(&service).await {
        Ok(found) => format!("{found:?}"),
        Err(error) => error.chain(),
    };
    let line = format!("{}: the server's certificate has expired", server.address());
    let what = format!("{told:?} ends with {line:?}");
    holds(told.ends_with(&line) && !told.contains('\n'), &what)?;
    server.restart_with(&fresh).await?;
    let start = Instant::now();
    while let Err(error) = registry.lookup(&service).await {
        let text = format!("it is believed again: {}", error.chain());
        holds(start.elapsed() < SOON, &text)?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
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
