//! Where a program listens, and where callers find it.

use waypost::{Error, Target, route_to};

use crate::arguments::Run;
use crate::failure::Failure;
use crate::session::Session;

/// The port that the program listens on.
pub(super) fn port(session: &Session, arguments: &Run) -> Result<u16, Failure> {
    let listened = session.flags.server_address.as_deref();
    let from_flag = listened.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
    match arguments.port.or(from_flag) {
        Some(port) if port != 0 => Ok(port),
        Some(_) => Err(Failure::usage(
            "port 0 is none that a caller could dial; 1 to 65535 are allowed",
        )),
        None => Err(Failure::usage(
            "the program's port is not known; give it with --port",
        )),
    }
}

/// The host that the program listens on: the one given, else this machine's address on the way to
/// the registry, so that what is registered is not the address of some bridge.
pub(super) fn host(session: &Session, arguments: &Run) -> Result<String, Failure> {
    if let Some(host) = &arguments.host {
        return Ok(host.clone());
    }
    let listened = session.flags.server_address.as_deref();
    let host = listened
        .and_then(|address| address.rsplit_once(':'))
        .map(|(host, _)| host);
    if let Some(host) = host.filter(|host| !matches!(*host, "" | "0.0.0.0" | "[::]")) {
        return Ok(host.to_owned());
    }
    let driver = session.driver()?;
    if !driver.profile.remote {
        return Ok("127.0.0.1".to_owned());
    }
    let target = session.target()?;
    let local = target
        .endpoints(driver.default_address, driver.default_port.unwrap_or(1))?
        .iter()
        .find_map(|registry| route_to(registry));
    local
        .map(|ip| ip.to_string())
        .ok_or_else(|| no_route(&target))
}

fn no_route(target: &Target) -> Failure {
    Failure::from(Error::config(format!(
        "no address of this machine leads to {target}; name one with --host"
    )))
}
