//! `waypost run -- CMD`

mod place;
mod supervisor;

use waypost::{Address, Instance, Node, NodeId, ServiceName, host_port};

use crate::arguments::Run;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::signals::Signals;
use crate::supervise::{Probe, Restarts};

use place::{host, port};
use supervisor::Supervisor;

/// Runs a program and keeps it registered while it is well.
pub(super) async fn run(session: &Session, arguments: &Run) -> Outcome {
    let signals = Signals::take()?;
    let host = host(session, arguments)?;
    let instance = instance(session, arguments, &host)?;
    let options = session.registration();
    let registry = session.registry().await?;
    options.validate(registry.profile().least_ttl)?;
    if !registry.profile().writable {
        return Err(Failure::usage(format!(
            "registry `{}` cannot be written, so nothing can be registered there",
            registry.profile().driver
        )));
    }
    let port = port(session, arguments)?;
    let probe = Probe::new(
        host_port(&host, port),
        arguments.health.clone(),
        arguments.health_timeout,
    );
    Supervisor {
        restarts: Restarts::new(arguments.restart),
        arguments,
        output: session.output,
        registry,
        instance,
        options,
        probe,
        signals,
        kept: Vec::new(),
        complaint: None,
    }
    .run()
    .await
}

fn instance(session: &Session, arguments: &Run, host: &str) -> Result<Instance, Failure> {
    let flags = &session.flags;
    let name = arguments.name.as_ref().or(flags.server_name.as_ref());
    let Some(name) = name else {
        return Err(Failure::usage(
            "the service has no name; give one with --name",
        ));
    };
    let service = ServiceName::new(name)?;
    let advertise = arguments
        .advertise
        .as_ref()
        .or(flags.server_advertise.as_ref());
    let address = match advertise {
        Some(address) => address.clone(),
        None => host_port(host, port(session, arguments)?),
    };
    let id = flags
        .server_id
        .clone()
        .unwrap_or_else(|| format!("{name}-{}", random_id()));
    let mut node = Node::new(NodeId::new(&id)?, Address::new(&address)?);
    node.metadata
        .extend(flags.server_metadata.clone().unwrap_or_default());
    node.metadata.extend(arguments.metadata.iter().cloned());
    let mut instance = Instance::new(service, node);
    if let Some(version) = arguments.version.as_ref().or(flags.server_version.as_ref()) {
        instance = instance.with_version(version);
    }
    instance.validate()?;
    Ok(instance)
}

/// 122 random bits, written as a version 4 UUID, which go-micro's ids end with.
fn random_id() -> String {
    let bits = fastrand::u128(..);
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
