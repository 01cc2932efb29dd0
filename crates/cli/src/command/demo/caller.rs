//! Somebody who calls a service all the while, whatever happens to its nodes.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use waypost::Registry;
use waypost::client::Client;

use crate::failure::Failure;

/// The time between two calls.
const PACE: Duration = Duration::from_millis(10);

/// Calls a service a hundred times a second until asked.
pub(super) struct Caller {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    enough: AtomicBool,
    made: AtomicU32,
    failed: AtomicU32,
    /// Why the last one failed that did.
    why: Mutex<String>,
}

impl Caller {
    pub(super) fn start(registry: Arc<dyn Registry>, service: &str) -> Result<Self, Failure> {
        let client = Client::builder().registry(registry).build();
        let client = client.map_err(|error| Failure::no(error.chain()))?;
        let shared = Arc::<Shared>::default();
        let task = tokio::spawn(call(client, format!("http://{service}/"), shared.clone()));
        Ok(Self { shared, task })
    }

    /// Stops, and tells how it went.
    pub(super) async fn stop(self) -> String {
        self.shared.enough.store(true, Ordering::Relaxed);
        let _ = self.task.await;
        let count = |counted: &AtomicU32| counted.load(Ordering::Relaxed);
        let (made, failed) = (count(&self.shared.made), count(&self.shared.failed));
        if failed == 0 {
            return format!("{made} calls meanwhile, none failed");
        }
        let why = self
            .shared
            .why
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        format!("{made} calls meanwhile, {failed} failed, the last one so: {why}")
    }
}

async fn call(client: Client, uri: String, shared: Arc<Shared>) {
    let mut pace = tokio::time::interval(PACE);
    while !shared.enough.load(Ordering::Relaxed) {
        pace.tick().await;
        shared.made.fetch_add(1, Ordering::Relaxed);
        let why = match client.get(&uri).await {
            Ok(answer) if answer.status().is_success() => continue,
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.chain(),
        };
        shared.failed.fetch_add(1, Ordering::Relaxed);
        *shared.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
