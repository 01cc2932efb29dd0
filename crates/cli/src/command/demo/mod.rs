//! `waypost demo`: three processes, a file registry, and a death.

mod caller;
mod service;
mod stage;

use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{Failure, OK, Outcome};
use crate::feed::Action;
use crate::session::Session;
use crate::signals::{self, Signals};

pub(super) use service::serve;
use stage::Stage;

/// Short, so that nobody has to wait for a death to show; ordinary services use 30 s.
const TTL: Duration = Duration::from_secs(3);
/// Most time that the whole play may take.
const LIMIT: Duration = Duration::from_secs(25);

/// Plays, and clears the stage whatever happens.
pub(super) async fn play(session: &Session) -> Outcome {
    let mut signals = Signals::take()?;
    let mut stage = Stage::set(session, TTL).await?;
    let end = tokio::select! {
        played = tokio::time::timeout(LIMIT, acts(&mut stage)) => match played {
            Ok(played) => played.map(|()| OK),
            Err(_) => Err(Failure::no(format!("the demo was not done within {LIMIT:?}"))),
        },
        signal = signals.ending() => Ok(signals::code(signal)),
    };
    stage.clear().await;
    end
}

async fn acts(stage: &mut Stage) -> Result<(), Failure> {
    stage.title("Three processes register themselves:")?;
    for (service, node) in [
        ("users", "users-1"),
        ("orders", "orders-1"),
        ("orders", "orders-2"),
    ] {
        stage.start(service, node)?;
    }
    for node in ["users-1", "orders-1", "orders-2"] {
        stage.until(|action| joined(action, node)).await?;
    }
    stage.greet("orders", "orders-2").await?;
    let caller = stage.caller("orders")?;

    pause().await;
    stage.title("orders-2 is killed with SIGKILL; it cannot say goodbye:")?;
    let killed = stage.signal("orders-2", Signal::KILL)?;
    stage.until(|action| left(action, "orders-2")).await?;
    let vanished = killed.elapsed();

    pause().await;
    stage.title("Another one takes its place:")?;
    let started = stage.start("orders", "orders-3")?;
    stage.until(|action| joined(action, "orders-3")).await?;
    let took_over = started.elapsed();
    stage.greet("orders", "orders-3").await?;

    pause().await;
    stage.title("orders-1 is asked to stop, and deregisters first:")?;
    let asked = stage.signal("orders-1", Signal::TERM)?;
    stage.until(|action| left(action, "orders-1")).await?;
    let stopped = asked.elapsed();

    pause().await;
    let called = caller.stop().await;
    stage.title("Summary")?;
    stage.line(&format!(
        "killed:   gone {:.1} s after SIGKILL, by itself (ttl {} s)",
        vanished.as_secs_f64(),
        TTL.as_secs()
    ))?;
    stage.line(&format!(
        "started:  found {:.0} ms after its process began",
        took_over.as_secs_f64() * 1e3
    ))?;
    stage.line(&format!(
        "stopped:  gone {:.0} ms after SIGTERM",
        stopped.as_secs_f64() * 1e3
    ))?;
    stage.line(&format!("called:   orders, {called}"))?;
    stage.line("")?;
    stage.line("Yours next: waypost run --name orders --port 8080 -- ./your-program")
}

/// Leaves a moment to read.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(800)).await;
}

fn joined(action: &Action, node: &str) -> bool {
    matches!(action, Action::Create(instance) if instance.node.id.as_str() == node)
}

fn left(action: &Action, node: &str) -> bool {
    matches!(action, Action::Delete(instance) if instance.node.id.as_str() == node)
}
