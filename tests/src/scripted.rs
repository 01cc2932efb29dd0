//! A registry whose one watch tells what the test says.

use std::sync::Mutex;
use std::sync::PoisonError;

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::mpsc;
use waypost_core::{
    BoxWatcher, Error, ErrorKind, Event, Instance, InstanceKey, Lease, Profile, RegisterOptions,
    Registry, Result, ServiceName, SkipLog, WatchScope,
};

const PROFILE: Profile = Profile {
    driver: "scripted",
    least_ttl: std::time::Duration::from_secs(1),
    slack: std::time::Duration::ZERO,
    writable: false,
    owned: true,
    tells_loss: false,
    native_watch: true,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// Tells events that are sent to it. Everything else is unsupported.
#[derive(Debug)]
pub struct Scripted {
    events: Mutex<Option<mpsc::Receiver<Event>>>,
    skipped: SkipLog,
}

impl Scripted {
    /// Its first watch tells `events`; there is no second one.
    #[must_use]
    pub fn new(events: mpsc::Receiver<Event>) -> Self {
        Self {
            events: Mutex::new(Some(events)),
            skipped: SkipLog::new(),
        }
    }
}

#[async_trait]
impl Registry for Scripted {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(&self, _: &Instance, _: RegisterOptions) -> Result<Box<dyn Lease>> {
        Err(unsupported())
    }

    async fn deregister(&self, _: &InstanceKey) -> Result<()> {
        Err(unsupported())
    }

    async fn lookup(&self, _: &ServiceName) -> Result<Vec<Instance>> {
        Err(unsupported())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        Err(unsupported())
    }

    async fn watch(&self, _: WatchScope) -> Result<BoxWatcher> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let events = events.take().ok_or_else(unsupported)?;
        Ok(Box::pin(stream::unfold(events, async |mut events| {
            let event = events.recv().await?;
            Some((Ok(event), events))
        })))
    }
}

fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "the script has nothing of the kind")
}
