//! What a program says of its service, checked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::{
    Address, Error, ErrorKind, Instance, Node, NodeId, RegistrationOptions, Registry, Result,
    ServiceName,
};
use waypost_resilience::ExpiryLayer;

use crate::builder::ServiceBuilder;
use crate::listen;
use crate::stop::Stop;

/// Longest wait that a program may ask for when its service stops.
const MOST_WAIT: Duration = Duration::from_secs(3600);

/// Who may ask the service to stop. Two askers that each ask once are two requests.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) signals: Stop,
    pub(crate) code: Stop,
}

impl Ends {
    pub(crate) async fn asked(&self) {
        tokio::select! {
            () = self.signals.asked() => {}
            () = self.code.asked() => {}
        }
    }

    pub(crate) async fn asked_now(&self) {
        tokio::select! {
            () = self.signals.asked_now() => {}
            () = self.code.asked_now() => {}
            () = async { self.signals.asked().await; self.code.asked().await } => {}
        }
    }
}

/// A service that can start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) builder: ServiceBuilder,
    pub(crate) name: ServiceName,
    pub(crate) id: NodeId,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) options: RegistrationOptions,
    pub(crate) ends: Ends,
    pub(crate) expiry: ExpiryLayer,
    /// What it speaks: `http`, or `grpc` where it does at all.
    kind: &'static str,
}

impl Plan {
    pub(crate) fn of(mut builder: ServiceBuilder, ends: Ends) -> Result<Self> {
        let name = ServiceName::new(&builder.name)?;
        let id = match &builder.id {
            Some(id) => NodeId::new(id)?,
            None => NodeId::new(&format!("{name}-{}", uuid()))?,
        };
        let named = |error: Error| error.with_operation("service", &name);
        let registry = builder.registry.clone().ok_or_else(|| {
            named(Error::config(
                "it has no registry; give it one with .registry(..)",
            ))
        })?;
        let profile = registry.profile();
        if !profile.writable {
            let text = format!("nothing can be registered with `{}`", profile.driver);
            return Err(named(Error::new(ErrorKind::Unsupported, text)));
        }
        builder
            .registration
            .validate(profile.least_ttl)
            .map_err(named)?;
        check_waits(&builder).map_err(named)?;
        check_faces(&builder).map_err(named)?;
        listen::check(&builder.listen).map_err(named)?;
        if builder.admin.is_some() {
            listen::check(&builder.admin_address)
                .map_err(|error| named(error).with_operation("admin", ""))?;
        }
        builder.advertise.check().map_err(named)?;
        check_checks(&builder).map_err(named)?;
        let expiry = expiry(builder.request_limit).map_err(named)?;
        builder.endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        builder.endpoints.dedup_by(|a, b| a.name == b.name);
        let plan = Self {
            options: builder.registration.clone(),
            kind: kind(&builder),
            expiry,
            builder,
            name,
            id,
            registry,
            ends,
        };
        // With any address: the rules of the rest are checked before a port is taken.
        plan.instance(Address::new("127.0.0.1:1")?, Some("127.0.0.1:1"))
            .validate()?;
        Ok(plan)
    }

    /// The record of this service, listening on `address`.
    pub(crate) fn instance(&self, address: Address, admin: Option<&str>) -> Instance {
        let mut node = Node::new(self.id.clone(), address);
        for key in ["protocol", "server", "transport"] {
            node = node.with_metadata(key, self.kind);
        }
        node = node.with_metadata("registry", self.registry.profile().driver);
        if let Some(admin) = admin {
            node = node.with_metadata(crate::ADMIN_KEY, admin);
        }
        node.metadata.extend(self.builder.metadata.clone());
        let mut instance =
            Instance::new(self.name.clone(), node).with_version(&self.builder.version);
        instance.endpoints.clone_from(&self.builder.endpoints);
        instance
    }
}

/// What go-micro's nodes say of themselves. Its callers choose their codec by `protocol`, and fall
/// back to one of a former release where it is missing.
fn kind(builder: &ServiceBuilder) -> &'static str {
    #[cfg(feature = "tonic")]
    if !builder.grpc.is_empty() {
        return "grpc";
    }
    // Without the feature nothing of the builder decides it.
    let _ = builder;
    "http"
}

/// What keeps requests within their deadlines.
fn expiry(limit: Option<Duration>) -> Result<ExpiryLayer> {
    let layer = ExpiryLayer::new();
    match limit {
        Some(limit) => layer
            .with_limit(limit)
            .map_err(|fault| Error::config(fault.to_string())),
        None => Ok(layer),
    }
}

fn check_waits(builder: &ServiceBuilder) -> Result<()> {
    for (what, wait) in [
        ("drain", Some(builder.drain)),
        ("propagation", builder.propagation),
        ("require_registration", builder.require),
    ] {
        if wait.is_some_and(|wait| wait > MOST_WAIT) {
            return Err(Error::config(format!("{what} is over {MOST_WAIT:?}")));
        }
    }
    if builder.require.is_some_and(|limit| limit.is_zero()) {
        return Err(Error::config(
            "require_registration is 0; nothing registers in no time",
        ));
    }
    Ok(())
}

fn check_faces(builder: &ServiceBuilder) -> Result<()> {
    #[cfg(feature = "tonic")]
    {
        if let Some(name) = builder.grpc.given_twice() {
            return Err(Error::config(format!(
                "the gRPC service {name} is given twice"
            )));
        }
        if !builder.grpc.is_empty() {
            return Ok(());
        }
    }
    match builder.http {
        Some(_) => Ok(()),
        None => Err(Error::config(
            "it serves nothing; give it a router with .serve(..)",
        )),
    }
}

fn check_checks(builder: &ServiceBuilder) -> Result<()> {
    let mut names = BTreeSet::new();
    for check in &builder.checks {
        check.validate()?;
        if !names.insert(&check.name) {
            return Err(Error::config(format!(
                "health check {:?} is given twice",
                check.name
            )));
        }
    }
    Ok(())
}

/// A random UUID, as go-micro's ids end with.
fn uuid() -> String {
    let bits = fastrand::u128(..);
    // Version 4, variant 1 (RFC 9562).
    let bits = bits & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4() {
        for _ in 0..100 {
            let id = uuid();
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(&id[14..15], "4");
            assert!(["8", "9", "a", "b"].contains(&&id[19..20]), "{id}");
        }
        assert_ne!(uuid(), uuid());
    }
}
