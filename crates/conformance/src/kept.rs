//! A lease that is renewed, without the house's keeper.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use waypost_core::{Error, Lease};

use crate::check::{Check, Stop};

/// Renews a lease every third of its ttl until it is dropped or stopped.
#[derive(Debug)]
pub(crate) struct Kept {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<(Box<dyn Lease>, Option<Error>)>,
}

impl Kept {
    pub(crate) fn start(mut lease: Box<dyn Lease>) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let interval = lease.ttl() / 3;
            loop {
                tokio::select! {
                    () = sleep(interval) => {}
                    _ = &mut stopped => return (lease, None),
                }
                if let Err(error) = lease.renew().await {
                    return (lease, Some(error));
                }
            }
        });
        Self {
            stop: Some(stop),
            task,
        }
    }

    /// Stops renewing and gives the lease back; fails when a renewal had failed.
    pub(crate) async fn stop(mut self) -> Check<Box<dyn Lease>> {
        drop(self.stop.take());
        match (&mut self.task).await {
            Ok((lease, None)) => Ok(lease),
            Ok((_, Some(error))) => Err(Stop::Failed(format!("a renewal failed: {error:?}"))),
            Err(error) => Err(Stop::Failed(format!("the renewing task died: {error}"))),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}
