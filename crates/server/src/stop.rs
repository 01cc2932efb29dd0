//! Asking a service to stop, from code.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Nothing,
    Drain,
    Now,
}

/// Asks services to stop. Clones ask the same ones.
///
/// The first [`Stop::stop`] lets a service deregister, drain and leave; a second one makes it leave
/// at once, as a second signal does.
///
/// ```
/// # use std::sync::Arc;
/// # use waypost_core::{Registry, Result};
/// use waypost_server::{Service, Stop};
///
/// # async fn example(registry: Arc<dyn Registry>, router: axum::Router) -> Result<()> {
/// let stop = Stop::new();
/// let asker = stop.clone();
/// tokio::spawn(async move {
///     // … whatever says that it is time …
///     asker.stop();
/// });
/// Service::builder("greeter").registry(registry).serve(router).stop_with(stop).run().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Stop {
    asked: Arc<watch::Sender<Asked>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asked: Arc::new(watch::Sender::new(Asked::Nothing)),
        }
    }

    /// Asks to deregister, drain and leave; asked again, to leave at once.
    pub fn stop(&self) {
        self.asked.send_modify(|asked| {
            *asked = match asked {
                Asked::Nothing => Asked::Drain,
                Asked::Drain | Asked::Now => Asked::Now,
            };
        });
    }

    /// Asks to leave at once: nothing is drained, and a record that is still there goes with its
    /// ttl.
    pub fn now(&self) {
        self.asked.send_replace(Asked::Now);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() > Asked::Nothing
    }

    /// Waits until it is asked to stop.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn asked(&self) {
        self.wait(Asked::Drain).await;
    }

    /// Waits until it is asked to leave at once.
    pub(crate) async fn asked_now(&self) {
        self.wait(Asked::Now).await;
    }

    async fn wait(&self, least: Asked) {
        // The sender is held by `self`, so the channel cannot close meanwhile.
        let _ = self
            .asked
            .subscribe()
            .wait_for(|asked| *asked >= least)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn asking_twice_means_at_once() {
        let stop = Stop::new();
        assert!(!stop.is_asked() && stop.asked().now_or_never().is_none());
        stop.clone().stop();
        assert!(stop.asked().now_or_never().is_some());
        assert!(stop.asked_now().now_or_never().is_none());
        stop.stop();
        assert!(stop.asked_now().now_or_never().is_some());
        stop.stop();
        assert!(stop.asked_now().now_or_never().is_some());
    }
}
