//! Signals that ask a process to end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use waypost_core::{Error, ErrorKind, Result};

use crate::owned::Owned;
use crate::stop::Stop;

/// Passes SIGTERM, SIGINT and SIGQUIT on to `stop` until it is dropped.
///
/// # Errors
/// When the system refuses the handlers.
pub(crate) fn pass_on(stop: Stop) -> Result<Owned> {
    let refused =
        |cause| Error::new(ErrorKind::Internal, "cannot listen for signals").with_source(cause);
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut quit = signal(SignalKind::quit()).map_err(refused)?;
    Ok(Owned::spawn(async move {
        loop {
            let name = next(&mut terminate, &mut interrupt, &mut quit).await;
            tracing::info!(signal = name, again = stop.is_asked(), "asked to stop");
            stop.stop();
        }
    }))
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal, quit: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        _ = quit.recv() => "SIGQUIT",
    }
}
