//! What an agent does: registers its nodes, tells of every change, releases them when told to.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use waypost::{Drivers, Origin, Target};
use waypost_core::{
    Address, Directory, DirectoryOptions, Error, Instance, Node, NodeId, Registration,
    RegistrationOptions, Registry, ServiceName, Standing,
};

use crate::Result;

use super::{Order, Report};

/// Carries out `order` until the process is told to terminate (it then releases every node) or its
/// input is closed (whoever started it is gone).
///
/// # Errors
/// The registry's, when it cannot be opened or refuses the nodes.
pub async fn work(order: Order) -> Result<()> {
    let target = Target::parse(&order.registry, None, Origin::Environment)?;
    let registry = Drivers::builtin().connect(&target).await?;
    let mut tellers = JoinSet::new();
    let mut registrations = Vec::new();
    for (place, node) in order.nodes.iter().enumerate() {
        let instance = instance(&order.service, node, place)?;
        let options = RegistrationOptions::new().with_ttl(order.ttl);
        let registration = Registration::start(Arc::clone(&registry), instance, options)?;
        tellers.spawn(tell(node.clone(), registration.standing()));
        registrations.push(registration);
    }
    if order.follow {
        tellers.spawn(follow(registry, order.service));
    }
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = input_closed() => return Ok(()),
    }
    let mut releases = JoinSet::new();
    for registration in registrations {
        releases.spawn(registration.release());
    }
    while let Some(released) = releases.join_next().await {
        released??;
    }
    Ok(())
}

/// Resolves when nobody holds our input any more. A thread of its own reads it: the runtime would
/// wait for a read of its own when it ends.
pub(super) fn input_closed() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    receiver
}

/// The owner's process id is part of the record, so that one can see whose it is.
pub(super) fn instance(service: &str, node: &str, place: usize) -> Result<Instance, Error> {
    let pid = std::process::id();
    let address = Address::new(&format!("127.0.0.1:{}", 20_000 + place))?;
    let node = Node::new(NodeId::new(node)?, address).with_metadata("pid", pid.to_string());
    Ok(Instance::new(ServiceName::new(service)?, node).with_version("1"))
}

pub(super) async fn tell(node: String, mut standing: tokio::sync::watch::Receiver<Standing>) {
    loop {
        let now = standing.borrow_and_update().clone();
        let report = Report {
            node: node.clone(),
            state: now.state.as_str().to_owned(),
            kind: now.cause.as_ref().map(|cause| cause.kind().to_string()),
            cause: now.cause.as_ref().map(Error::chain),
        };
        if let Ok(line) = serde_json::to_string(&report) {
            // Whoever listened may be gone; the closed input ends us then.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

async fn follow(registry: Arc<dyn Registry>, service: String) {
    let Ok(name) = ServiceName::new(&service) else {
        return;
    };
    let directory = Directory::new(registry, DirectoryOptions::new());
    while let Err(error) = directory.follow(name.clone()).await {
        tracing::warn!(%error, "not followed yet");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let _followed = directory.follow(name).await;
    std::future::pending::<()>().await;
}
