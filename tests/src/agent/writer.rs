//! An agent that changes its records all the time, and tells what it does to its registry.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use waypost::{Drivers, Origin, Target};
use waypost_core::{Error, Instance, Registration, RegistrationOptions, Registry};

use crate::Result;
use crate::random::record::{BORN, TURN};
use crate::random::tape::now;

use super::Order;
use super::journal::Journal;
use super::work::{input_closed, instance, tell};

/// Milliseconds between two changes of a process's first record.
const OFTEN: Range<u64> = 500..2500;
/// Those of its other records, longer than a ttl: only renewals keep them.
const SELDOM: Range<u64> = 6000..12_000;

/// Carries out `order` as [`work`](super::work) does, with [`Act`](super::Act)s among its reports
/// and new content every second or two.
///
/// # Errors
/// The registry's, when it cannot be opened or refuses the nodes.
pub async fn write(order: Order) -> Result<()> {
    let target = Target::parse(&order.registry, None, Origin::Environment)?;
    let registry = Drivers::builtin().connect(&target).await?;
    let registry: Arc<dyn Registry> = Arc::new(Journal::new(registry));
    let born = now();
    let (stop, stopped) = watch::channel(false);
    let mut writers = JoinSet::new();
    let mut tellers = JoinSet::new();
    for (place, node) in order.nodes.iter().enumerate() {
        let first = stamped(instance(&order.service, node, place)?, born, 0);
        let options = RegistrationOptions::new().with_ttl(order.ttl);
        let registry = Arc::clone(&registry);
        let registration = Registration::start(registry, first.clone(), options)?;
        tellers.spawn(tell(node.clone(), registration.standing()));
        let pauses = if place == 0 { OFTEN } else { SELDOM };
        let varying = vary(registration, first, born, pauses, stopped.clone());
        writers.spawn(varying);
    }
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = input_closed() => return Ok(()),
    }
    stop.send_replace(true);
    while let Some(released) = writers.join_next().await {
        released??;
    }
    Ok(())
}

fn stamped(mut instance: Instance, born: u64, turn: u64) -> Instance {
    let mut pair = |key: &str, number: u64| {
        let pair = (key.to_owned(), number.to_string());
        instance.node.metadata.extend([pair]);
    };
    pair(BORN, born);
    pair(TURN, turn);
    instance
}

/// Changes a record now and then, until it is told to release it.
async fn vary(
    registration: Registration,
    first: Instance,
    born: u64,
    pauses: Range<u64>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), Error> {
    let changing = async {
        for turn in 1.. {
            sleep(Duration::from_millis(fastrand::u64(pauses.clone()))).await;
            // What cannot be written now stays wished for.
            let _ = registration
                .update(stamped(first.clone(), born, turn))
                .await;
        }
    };
    tokio::select! {
        () = changing => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    registration.release().await
}
