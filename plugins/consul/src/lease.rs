//! A claim on one record of one agent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};
use waypost_core::{Error, ErrorKind, Instance, Lease, Result, ServiceName};
use waypost_plugin_kit::Pace;

use crate::config::PROFILE;
use crate::error;
use crate::feed::Subscription;
use crate::http::{Agent, Since};
use crate::owner::{Claim, Owner};
use crate::record::{Definition, Entry, Held};
use crate::registry::Shared;
use crate::removal;
use crate::scan::Print;

/// Looks that a lease may take at its record at once, and one every so often.
const LOOKS: u32 = 4;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a leader is looked for before a write, while there is none, and how many times.
const ELECTION_LOOK_EVERY: Duration = Duration::from_millis(100);
const ELECTION_LOOKS: u32 = 15;

/// Writes a record at `agent`, if it is not there already and ours, and waits until the servers have
/// it.
pub(crate) async fn hold(shared: &Shared, agent: Agent, record: &Definition) -> Result<Agent> {
    // Never closed: it lives and dies with `shared`.
    let _turn = shared.writes.acquire().await;
    // What we left there before is written anew, so that nothing takes it for the former copy.
    let was_left = shared.leftovers.forget(&agent, &record.id);
    let held = agent.held(&record.id).await?;
    let is_there = held.is_some();
    let owner = held
        .filter(|held| !was_left && record.is_held(held))
        .and_then(|held| held.service.owner())
        .filter(|owner| shared.claims.is_ours(Some(owner)));
    match owner {
        Some(owner) if still_passes(&agent, &record.id).await? => {
            if is_told(&agent, record, &owner).await? {
                settle(shared, &agent, record, &owner).await?;
            } else {
                // An agent that failed to tell the servers of a change tries again when it is told
                // of another one, or when it compares notes with them, which it does once a minute.
                write(shared, &agent, record, owner, is_there).await?;
            }
        }
        _ => {
            let owner = shared.claims.owner();
            write(shared, &agent, record, owner, is_there).await?;
        }
    }
    Ok(agent)
}

async fn write(
    shared: &Shared,
    agent: &Agent,
    record: &Definition,
    owner: Owner,
    is_there: bool,
) -> Result<()> {
    leader_answers(shared, agent, record).await?;
    agent.write(&record.owned_by(owner.clone())).await?;
    if is_there {
        // Whatever a registration says, an agent keeps the status of a check that it has already:
        // what expired would stay so, and be seen by nobody.
        still_passes(agent, &record.id).await?;
    }
    settle(shared, agent, record, &owner).await
}

/// Fails unless the servers' leader can be written to.
///
/// An agent that tells the servers of a change answers nobody until it has: for seconds, while they
/// have no leader, or while it dials one that has just died. What it holds could not be renewed
/// meanwhile, and would expire. A read of the leader holds nobody up.
///
/// An election is waited for: who failed at once, again and again, would be far apart when it is over.
async fn leader_answers(shared: &Shared, agent: &Agent, record: &Definition) -> Result<()> {
    if matches!(agent.is_led().await, Ok(false)) {
        let is_led = tokio::select! {
            is_led = is_led_soon(agent) => is_led,
            // Then the fault is this agent's. Others may be silent.
            true = another_is_led(shared, agent) => false,
        };
        if !is_led {
            return Err(error::leaderless(agent.peer()));
        }
    }
    let read = agent.entries_of(&record.name, &record.id, &Since::Now, agent.wait());
    match read.await {
        Err(error) if error::is_agents_own(&error) => Err(error),
        // Who may not read may write all the same.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn is_led_soon(agent: &Agent) -> bool {
    let mut pace = Pace::new(1, ELECTION_LOOK_EVERY);
    for _ in 0..ELECTION_LOOKS {
        pace.turn().await;
        if !matches!(agent.is_led().await, Ok(false)) {
            return true;
        }
    }
    false
}

/// Whether an agent knows a leader, but for this one.
async fn another_is_led(shared: &Shared, agent: &Agent) -> bool {
    for other in shared.agents.all().filter(|other| !other.is(agent)) {
        if matches!(other.is_led().await, Ok(true)) {
            return true;
        }
    }
    false
}

/// Whether the servers have this record of `owner`, live or not.
async fn is_told(agent: &Agent, record: &Definition, owner: &Owner) -> Result<bool> {
    let (service, id) = (record.name.as_str(), record.id.as_str());
    let read = agent.entries_of(service, id, &Since::Now, agent.wait());
    let is_ours = |entry: &Entry| entry.service.owner().as_ref() == Some(owner);
    Ok(read.await?.what.iter().any(is_ours))
}

async fn still_passes(agent: &Agent, id: &str) -> Result<bool> {
    match agent.pass(id).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the servers have what the agent was told: it tells them in its own time. What this
/// process wrote at another agent before is struck out then.
async fn settle(shared: &Shared, agent: &Agent, record: &Definition, owner: &Owner) -> Result<()> {
    let (service, id) = (record.name.as_str(), record.id.as_str());
    let mut since = Since::Now;
    loop {
        let read = agent.entries_of(service, id, &since, agent.wait()).await?;
        let is_ours = |entry: &Entry| entry.service.owner().as_ref() == Some(owner);
        let (ours, others): (Vec<_>, Vec<_>) = read.what.into_iter().partition(is_ours);
        if ours.iter().any(Entry::is_renewed) {
            for entry in others {
                if shared.claims.is_ours(entry.service.owner().as_ref()) {
                    // If this fails, the record goes with its ttl.
                    let _ = agent.strike(&entry).await;
                }
            }
            return Ok(());
        }
        if is_beyond_us(agent, service, id, owner).await? {
            return Ok(());
        }
        if matches!(since, Since::Index(index) if index == read.index) {
            return Err(error::untold());
        }
        since = Since::Index(read.index);
    }
}

/// Whether nothing can be waited for: somebody else has taken the record over already, as the lease
/// will find, or we may write the service and not see it.
async fn is_beyond_us(agent: &Agent, service: &str, id: &str, owner: &Owner) -> Result<bool> {
    let held = agent.held(id).await?;
    if held.and_then(|held| held.service.owner()).as_ref() != Some(owner) {
        return Ok(true);
    }
    match agent.prove(service).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::Denied => Ok(true),
        Err(error) => Err(error),
    }
}

/// A lease is held at one agent: no other can renew its record.
#[derive(Debug)]
pub(crate) struct ConsulLease {
    shared: Arc<Shared>,
    agent: Agent,
    /// Whether the agent was silent at the last renewal.
    in_doubt: bool,
    /// Whether the agent answered the last renewal. While it does not, renewals alone ask it.
    answers: bool,
    claim: Claim,
    record: Definition,
    ttl: Duration,
    /// Its place at the query that all share, if it has none of its own.
    place: Mutex<Option<Place>>,
}

#[derive(Debug)]
struct Place {
    feed: Subscription,
    /// What was told when the record was last seen to be ours.
    seen: Option<Print>,
}

impl ConsulLease {
    pub(crate) fn new(
        shared: Arc<Shared>,
        agent: Agent,
        claim: Claim,
        record: Definition,
        ttl: Duration,
    ) -> Self {
        Self {
            shared,
            agent,
            in_doubt: false,
            answers: true,
            claim,
            record,
            ttl,
            place: Mutex::new(None),
        }
    }

    fn id(&self) -> &str {
        self.claim.key().node.as_str()
    }

    fn service(&self) -> &ServiceName {
        &self.claim.key().service
    }

    fn named(&self, operation: &'static str, error: Error) -> Error {
        error
            .with_operation(operation, self.claim.key())
            .with_driver(PROFILE.driver)
    }

    /// The record, if it is still ours and alive.
    async fn ours(&self) -> Result<Held> {
        let held = self.held().await?;
        if held.is_expired() {
            return Err(error::lost("has expired"));
        }
        Ok(held)
    }

    /// The record, alive or not, if it is still ours. One request to the agent alone: agents take a
    /// renewal from anybody, and would keep a successor's dead record alive for us.
    async fn held(&self) -> Result<Held> {
        if !self.claim.stands() {
            return Err(error::lost("was registered anew by this process"));
        }
        let Some(held) = self.agent.held(self.id()).await? else {
            return Err(error::lost("is not at its agent any more"));
        };
        let same_name = held.service.name == self.service().as_str();
        if !same_name || !self.shared.claims.is_ours(held.service.owner().as_ref()) {
            return Err(error::lost("is somebody else's"));
        }
        Ok(held)
    }

    async fn pass(&self) -> Result<()> {
        self.ours().await?;
        self.agent.pass(self.id()).await
    }

    /// Renews the record where it is; tells whether it was alive. An agent that was down says to us
    /// first of all what it has expired: it can be written anew before anybody misses it.
    async fn stays(&self) -> Result<bool> {
        if self.held().await?.is_expired() {
            return Ok(false);
        }
        self.agent.pass(self.id()).await?;
        if self.is_cut_off().await {
            return Err(error::leaderless(self.agent.peer()));
        }
        Ok(true)
    }

    /// Whether the agent knows no leader while another one does: it renews the record for itself
    /// alone then, and the others give it up with all its records.
    ///
    /// Nobody knows one during an election, which is no reason to move.
    async fn is_cut_off(&self) -> bool {
        matches!(self.agent.is_led().await, Ok(false))
            && another_is_led(&self.shared, &self.agent).await
    }

    /// Registers the record at an agent that can, which is the lease's from then on.
    async fn move_on(&mut self) -> Result<()> {
        let before = self.shared.claims.owner();
        let hold = |agent| hold(&self.shared, agent, &self.record);
        let agent = self.shared.agents.any(hold).await?;
        let former = std::mem::replace(&mut self.agent, agent);
        if !former.is(&self.agent) {
            self.shared
                .leftovers
                .add(former, self.claim.key().node.as_str(), before);
        }
        Ok(())
    }

    async fn beat(&mut self) -> Result<()> {
        if !self.shared.agents.are_several() {
            return self.pass().await;
        }
        if !self.claim.stands() || !std::mem::replace(&mut self.in_doubt, true) {
            let stays = self.stays().await;
            // Who is silent is not waited for a second time.
            self.in_doubt = matches!(&stays, Err(error) if error.kind() == ErrorKind::Timeout);
            match stays {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error::is_agents_own(&error) => self.agent.leave(),
                Err(error) => return Err(error),
            }
        } else {
            self.agent.leave();
        }
        self.move_on().await?;
        self.in_doubt = false;
        Ok(())
    }

    async fn change(&mut self, instance: &Instance) -> Result<()> {
        if instance.key() != *self.claim.key() {
            return Err(error::other_key(&instance.key()));
        }
        let record = Definition::new(instance, self.ttl)?;
        let _turn = self.shared.writes.acquire().await;
        if !record.is_held(&self.ours().await?) {
            let owner = self.shared.claims.owner();
            write(&self.shared, &self.agent, &record, owner, true).await?;
        }
        self.record = record;
        Ok(())
    }

    /// Waits until the agent has another record than ours, or none.
    async fn watch_record(&self) -> Error {
        let mut pace = Pace::new(LOOKS, LOOK_EVERY);
        let mut since = Since::Now;
        loop {
            pace.turn().await;
            since = match self.agent.sight(self.id(), &since).await {
                Ok(None) => return error::lost("was removed"),
                Ok(Some(seen)) if !self.shared.claims.is_ours(seen.owner.as_ref()) => {
                    return error::lost("was taken over");
                }
                Ok(Some(seen)) => seen.since,
                // Told by the next renewal, after which this begins anew.
                Err(_) => std::future::pending().await,
            };
        }
    }

    /// The same by the one query that all share. The place at it outlasts the beats: what is told
    /// during one is not missed.
    async fn watch_feed(&self, mut held: MutexGuard<'_, Option<Place>>) -> Error {
        let place = held.get_or_insert_with(|| Place {
            feed: self.shared.hub(Some(self.service())).listen(),
            seen: None,
        });
        while let Ok(scan) = place.feed.next().await {
            let print = scan.print_of(self.service(), self.id());
            if place.seen == Some(print) {
                continue;
            }
            match self.ours().await {
                Err(error) if error.kind() == ErrorKind::LeaseLost => {
                    *held = None;
                    return error;
                }
                Ok(_) => place.seen = Some(print),
                Err(_) => {}
            }
        }
        // As above.
        *held = None;
        drop(held);
        std::future::pending().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for ConsulLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn renew(&mut self) -> Result<()> {
        self.answers = false;
        let renewed = self.beat().await;
        self.answers = match &renewed {
            Ok(()) => true,
            Err(error) => error.kind() == ErrorKind::LeaseLost,
        };
        renewed.map_err(|error| self.named("renew", error))
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        let written = self.change(instance).await;
        written.map_err(|error| self.named("update", error))
    }

    async fn lost(&self) -> Error {
        let told = async {
            if !self.answers {
                return std::future::pending().await;
            }
            let held = self.place.lock().await;
            let seat = self.shared.seats.try_acquire();
            if held.is_none() && seat.is_ok() {
                drop(held);
                return self.watch_record().await;
            }
            drop(seat);
            self.watch_feed(held).await
        };
        let error = tokio::select! {
            error = told => error,
            () = self.claim.lost() => error::lost("was registered anew by this process"),
        };
        self.named("hold", error)
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        let removed = match self.ours().await {
            Ok(_) => removal::revoke(&self.shared, &self.agent, self.claim.key()).await,
            Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|error| self.named("revoke", error))
    }
}
