//! A task that somebody owns.

use std::future::Future;

use tokio::task::JoinHandle;

/// A spawned task that ends when its owner drops it.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Spawns `work` on the current runtime.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Whether the task has ended, on its own or with its runtime.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
