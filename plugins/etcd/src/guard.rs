//! Tells when a record of ours was deleted or taken over behind our back.
//!
//! A keep-alive does not: a lease lives on without its key. So our own keys are watched, which costs
//! one watch a service at the server, and no read a beat.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::proto::PbKeyValue;
use etcd_client::{Error as Told, Event, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::Notify;
use waypost_core::{Error, ErrorKind, Result};
use waypost_plugin_kit::Task;

use crate::claim::Claim;
use crate::endpoints::Endpoints;
use crate::error;
use crate::guarded::{Ask, Guarded, Step};
use crate::range::{self, Sink};

/// Watches that are asked for before the first of them is confirmed.
const UNCONFIRMED: usize = 64;

/// The watch over our own keys.
///
/// It is opened after the first record was written, without anybody waiting for it. When it breaks,
/// the next renewal that succeeds has it opened again, after a look at which keys are still there.
#[derive(Debug)]
pub(crate) struct Guard {
    desk: Arc<Desk>,
    endpoints: Arc<Endpoints>,
    task: Mutex<Option<Task>>,
}

/// What the guard shares with its task.
#[derive(Debug, Default)]
struct Desk {
    guarded: Mutex<Guarded>,
    /// There is something for the task to do.
    work: Notify,
    /// The next renewal that succeeds makes work: the stream broke, or writes put a watch off.
    due: AtomicBool,
    /// The server does not let us watch our own keys.
    off: AtomicBool,
}

/// A claim under guard, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    claim: Arc<Claim>,
    service: String,
    desk: Arc<Desk>,
}

impl Guard {
    pub(crate) fn new(endpoints: Arc<Endpoints>) -> Self {
        Self {
            desk: Arc::new(Desk::default()),
            endpoints,
            task: Mutex::new(None),
        }
    }

    /// Guards a record of `service` (what its keys begin with) that is about to be written, at a
    /// revision after `now`.
    pub(crate) fn hold(&self, service: String, claim: Claim, now: i64) -> Held {
        let claim = Arc::new(claim);
        self.desk.guarded().enter(&service, &claim, now);
        Held {
            claim,
            service,
            desk: Arc::clone(&self.desk),
        }
    }

    /// The record was written at `revision`.
    pub(crate) fn written(&self, held: &Held, revision: i64) {
        let mut guarded = self.desk.guarded();
        let work = guarded.written(&held.service, &held.claim, revision);
        let late = guarded.is_late();
        drop(guarded);
        if late {
            self.desk.due.store(true, Ordering::Relaxed);
        }
        if work {
            self.start();
        }
    }

    /// A renewal succeeded: a good moment to do what is due.
    pub(crate) fn renewed(&self) {
        let due = &self.desk.due;
        if due.load(Ordering::Relaxed) && due.swap(false, Ordering::Relaxed) {
            let work = self.desk.guarded().hurry();
            if work {
                self.start();
            }
        }
    }

    fn start(&self) {
        if self.desk.off.load(Ordering::Relaxed) {
            return;
        }
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.get_or_insert_with(|| {
            Task::spawn(run(Arc::clone(&self.desk), Arc::clone(&self.endpoints)))
        });
        self.desk.work.notify_one();
    }
}

impl Held {
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.desk.guarded().leave(&self.service, &self.claim) {
            self.desk.work.notify_one();
        }
    }
}

impl Desk {
    fn guarded(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the stream whenever there is a reason to.
async fn run(desk: Arc<Desk>, endpoints: Arc<Endpoints>) {
    loop {
        desk.work.notified().await;
        let Err(error) = session(&desk, &endpoints).await else {
            continue;
        };
        if error.kind() == ErrorKind::Denied {
            desk.off.store(true, Ordering::Relaxed);
            tracing::warn!(
                driver = "etcd",
                error = %error.chain(),
                "cannot watch own records; a deletion by hand is noticed by nobody"
            );
            return;
        }
        tracing::debug!(driver = "etcd", error = %error.chain(), "lost the watch over own records");
        desk.guarded().broke();
        desk.due.store(true, Ordering::Relaxed);
    }
}

/// Watches until there is nothing to guard, or an error.
async fn session(desk: &Desk, endpoints: &Endpoints) -> Result<()> {
    let Some(first) = first_ask(desk, endpoints).await? else {
        return Ok(());
    };
    let (stream, peer) = endpoints
        .call(|endpoint| {
            let (key, options) = request(&first);
            async move {
                let stream = endpoint.watch().watch(key, Some(options)).await?;
                Ok((stream, endpoint.address().to_owned()))
            }
        })
        .await?;
    Session {
        desk,
        endpoints,
        peer,
        stream,
        unconfirmed: VecDeque::from([first]),
    }
    .run()
    .await
}

/// Looks at what has to be looked at, up to the first watch that is wanted.
async fn first_ask(desk: &Desk, endpoints: &Endpoints) -> Result<Option<Ask>> {
    loop {
        let step = desk.guarded().step();
        match step {
            None => return Ok(None),
            Some(Step::Watch(ask)) => return Ok(Some(ask)),
            Some(Step::Look(ask, claims)) => look(desk, endpoints, ask, &claims).await?,
            // It ended with its stream.
            Some(Step::End(_)) => {}
        }
    }
}

/// Finds out what became of `claims` while nobody watched.
async fn look(desk: &Desk, endpoints: &Endpoints, ask: Ask, claims: &[Arc<Claim>]) -> Result<()> {
    let range = [ask.range()];
    let mut owners = Owners::default();
    let at = range::read(endpoints, &range, true, &mut owners).await?;
    for claim in claims {
        let owner = owners.0.get(claim.key.as_bytes()).copied().unwrap_or(0);
        if owner != claim.lease {
            claim.disowned(owner);
        }
    }
    desk.guarded().looked(ask.service, at.revision);
    Ok(())
}

/// The lease that each key belongs to.
#[derive(Debug, Default)]
struct Owners(HashMap<Vec<u8>, i64>);

impl Sink for Owners {
    fn found(&mut self, record: PbKeyValue) {
        self.0.insert(record.key, record.lease);
    }

    // Keys alone are never too large.
    fn too_large(&mut self, _: &[u8]) {}
}

fn request(ask: &Ask) -> (String, WatchOptions) {
    let range = ask.range();
    let options = WatchOptions::new()
        .with_start_revision(ask.since)
        .with_fragment();
    match range.end {
        Some(end) => (range.start, options.with_range(end)),
        None => (range.start, options),
    }
}

/// One open stream.
struct Session<'a> {
    desk: &'a Desk,
    endpoints: &'a Endpoints,
    peer: String,
    stream: WatchStream,
    /// Asked for and not confirmed, in the order of asking, which is that of the answers.
    unconfirmed: VecDeque<Ask>,
}

impl Session<'_> {
    async fn run(mut self) -> Result<()> {
        loop {
            while self.unconfirmed.len() < UNCONFIRMED {
                let step = self.desk.guarded().step();
                let Some(step) = step else {
                    break;
                };
                self.perform(step).await?;
            }
            if self.unconfirmed.is_empty() && self.desk.guarded().is_empty() {
                return Ok(());
            }
            tokio::select! {
                response = self.stream.message() => match response {
                    Ok(Some(response)) => self.take(&response)?,
                    Ok(None) => return Err(self.fault("the server ended the watch")),
                    Err(told) => return Err(error::fault(&self.peer, &told).error),
                },
                () = self.desk.work.notified() => {}
            }
        }
    }

    async fn perform(&mut self, step: Step) -> Result<()> {
        let asked = match step {
            Step::End(watch) => self.stream.cancel(watch).await,
            Step::Look(ask, claims) => return look(self.desk, self.endpoints, ask, &claims).await,
            Step::Watch(ask) => {
                let (key, options) = request(&ask);
                self.unconfirmed.push_back(ask);
                self.stream.watch(key, Some(options)).await
            }
        };
        asked.map_err(|told| error::fault(&self.peer, &told).error)
    }

    fn take(&mut self, response: &WatchResponse) -> Result<()> {
        let asked = match response.created() {
            true => self.unconfirmed.pop_front(),
            false => None,
        };
        if response.canceled() {
            return match response.cancel_reason() {
                _ if response.compact_revision() != 0 => {
                    Err(self.fault("the history was compacted"))
                }
                // An answer to our own request.
                "" if asked.is_none() => Ok(()),
                "" => Err(self.fault("permission denied")),
                reason => Err(self.fault(reason)),
            };
        }
        if let Some(ask) = asked {
            let header = response.header();
            if header.is_some_and(|header| header.revision() + 1 < ask.since) {
                return Err(self.fault("the server's history went backwards"));
            }
            self.desk.guarded().begun(&ask.service, response.watch_id());
        }
        let mut guarded = self.desk.guarded();
        for record in response.events().iter().filter_map(Event::kv) {
            if let Ok(key) = record.key_str() {
                // A deletion tells a key without a lease.
                guarded.seen(key, record.mod_revision(), record.lease());
            }
        }
        Ok(())
    }

    fn fault(&self, reason: &str) -> Error {
        error::fault(&self.peer, &Told::WatchError(reason.to_owned())).error
    }
}
