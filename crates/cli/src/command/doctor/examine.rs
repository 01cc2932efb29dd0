//! Configuration and registry.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use waypost::{
    Address, Driver, Error, ErrorKind, Instance, Node, NodeId, RegisterOptions,
    RegistrationOptions, Registry, Result, ServiceName, Target,
};

use super::report::Report;
use super::shown;
use crate::session::Session;

/// The name under which the round trip registers.
const PROBE: &str = "waypost-doctor";
/// How long a record may take to be seen, or to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be said without asking anybody.
pub(super) fn configuration(
    session: &Session,
    report: &mut Report,
    target: &Target,
    driver: &Driver,
) {
    const GROUP: &str = "configuration";
    let place = match target.addresses() {
        [] if target.path().is_empty() => format!("{target} at {}", driver.default_address),
        _ => target.to_string(),
    };
    report.ok(GROUP, "registry", &format!("{place} ({})", driver.summary));
    let options = session.flags.registration(RegistrationOptions::new());
    let interval = options.interval.map_or_else(
        || "a third of the granted ttl".to_owned(),
        |interval| format!("{interval:?}"),
    );
    let detail = format!("ttl {:?}, interval {interval}", options.ttl);
    match (
        options.validate(driver.profile.least_ttl),
        waypost::flags::timing_warning(&options),
    ) {
        (Err(error), _) => report.fail(GROUP, "ttl and interval", &error.chain()),
        (Ok(()), Some(warning)) => report.warn(GROUP, "ttl and interval", &warning),
        (Ok(()), None) => report.ok(GROUP, "ttl and interval", &detail),
    }
    if target.username().is_some() && target.password().is_some() {
        report.ok(
            GROUP,
            "login",
            &format!("as {:?}", target.username().unwrap_or_default()),
        );
    }
}

/// Whether the registry answers, how fast, and what it holds.
pub(super) async fn registry(
    session: &Session,
    report: &mut Report,
    registry: &dyn Registry,
    driver: &Driver,
) -> Option<Vec<Arc<Instance>>> {
    const GROUP: &str = "registry";
    let begun = Instant::now();
    let names = match registry.services().await {
        Ok(names) => names,
        Err(error) => {
            match error.kind() {
                ErrorKind::Config => report.fail(GROUP, "reachable", &error.chain()),
                // A domain that does not list its services is in order, but there is no question to
                // ask it.
                ErrorKind::Unsupported => {
                    report.skip(
                        GROUP,
                        "reachable",
                        "there is no list of services to ask for",
                    );
                    report.warn(GROUP, "list", &error.chain());
                }
                _ => report.unreachable(GROUP, "reachable", &error.chain()),
            }
            return None;
        }
    };
    let took = shown(begun.elapsed());
    report.ok(
        GROUP,
        "reachable",
        &format!("{} answered within {took}", driver.name),
    );
    match session.everything(registry).await {
        Ok(instances) => {
            let detail = format!("{} services, {} nodes", names.len(), instances.len());
            report.ok(GROUP, "list", &detail);
            Some(instances)
        }
        Err(failure) => {
            report.fail(GROUP, "list", &failure.message.unwrap_or_default());
            None
        }
    }
}

/// Registers a record, finds it, removes it, and finds it gone.
pub(super) async fn round_trip(session: &Session, report: &mut Report, registry: &dyn Registry) {
    const GROUP: &str = "registry";
    let trip = session.limited(trip(registry)).await;
    match trip {
        Ok(Ok((seen, gone))) => report.ok(
            GROUP,
            "round trip",
            &format!(
                "registered and found within {}, gone within {}",
                shown(seen),
                shown(gone)
            ),
        ),
        Ok(Err(error)) => report.fail(GROUP, "round trip", &error.chain()),
        Err(failure) => report.fail(GROUP, "round trip", &failure.message.unwrap_or_default()),
    }
}

async fn trip(registry: &dyn Registry) -> Result<(Duration, Duration)> {
    let service = ServiceName::new(PROBE)?;
    let id = format!("{PROBE}-{:08x}", fastrand::u32(..));
    // The discard port: whoever finds the record in its short life does no harm by dialling it.
    let node = Node::new(NodeId::new(&id)?, Address::new("127.0.0.1:9")?);
    let instance = Instance::new(service.clone(), node);
    let ttl = registry.profile().least_ttl.max(Duration::from_secs(5));
    let begun = Instant::now();
    let lease = registry
        .register(&instance, RegisterOptions::new(ttl))
        .await?;
    until(registry, &instance, true).await?;
    let seen = begun.elapsed();
    let begun = Instant::now();
    lease.revoke().await?;
    until(registry, &instance, false).await?;
    Ok((seen, begun.elapsed()))
}

async fn until(registry: &dyn Registry, instance: &Instance, there: bool) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let found = registry.lookup(&instance.service).await?;
        if found.iter().any(|other| other.key() == instance.key()) == there {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let what = if there { "not found" } else { "still found" };
    let key = instance.key();
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("the record {key} was {what} after {}", shown(PATIENCE)),
    ))
}
