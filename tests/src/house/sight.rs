//! What everybody in a house sees, and what must hold of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::NodeId;

use crate::backend::Backend;
use crate::observe::{Eye, Reader, Set, Watched};
use crate::{Result, ensure};

use super::{House, PROCESSES, connect, service};

/// The time between two looks at what everybody sees.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl<B: Backend> House<B> {
    /// Waits until everybody's sight satisfies `holds` at the same time; returns how long that
    /// took.
    ///
    /// # Errors
    /// When it does not within `limit`, with who sees what.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn all_see(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Set) -> bool,
    ) -> Result<Duration> {
        let since = Instant::now();
        loop {
            let blind: Vec<String> = self
                .eyes()
                .filter_map(|eye| match eye.sees(since) {
                    Some(set) if holds(&set) => None,
                    Some(set) => Some(format!("{} sees {}", eye.name(), names(&set))),
                    None => Some(format!("{} sees nothing new", eye.name())),
                })
                .collect();
            if blind.is_empty() {
                let took = since.elapsed();
                self.history.note("all", format!("see {what}"));
                return Ok(took);
            }
            ensure(since.elapsed() < limit, || {
                format!("not all see {what} within {limit:?}: {}", blind.join("; "))
            })?;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everybody is connected again and sees the six nodes, and every agent is live;
    /// returns how long that took.
    ///
    /// # Errors
    /// When it is not so within `limit`, with what is missing.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn healed(&self, limit: Duration) -> Result<Duration> {
        let since = Instant::now();
        self.all_see("the six nodes", limit, is_whole).await?;
        let left = |since: Instant| limit.saturating_sub(since.elapsed());
        for agent in &self.agents {
            agent.live(left(since)).await?;
        }
        loop {
            let stale = self.readers.iter().filter(|reader| !reader.is_live());
            let closed = self.watched.iter().filter(|watched| !watched.is_open());
            let names: Vec<&str> = stale
                .map(Reader::name)
                .chain(closed.map(Watched::name))
                .collect();
            if names.is_empty() {
                break;
            }
            ensure(since.elapsed() < limit, || {
                format!("not connected again within {limit:?}: {}", names.join(", "))
            })?;
            sleep(LOOK_EVERY).await;
        }
        // Those who connected last may have had old news.
        self.all_see("the six nodes", left(since), is_whole).await?;
        Ok(since.elapsed())
    }

    /// Waits until no watch and no directory differs from a fresh list (records compared whole).
    ///
    /// # Errors
    /// When one still does after `limit`.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn converge(&self, limit: Duration) -> Result<Duration> {
        let since = Instant::now();
        loop {
            let differs = match self.differs().await {
                Ok(None) => return Ok(since.elapsed()),
                Ok(Some(differs)) => differs,
                Err(error) => error.to_string(),
            };
            ensure(since.elapsed() < limit, || {
                format!("not converged within {limit:?}: {differs}")
            })?;
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn differs(&self) -> Result<Option<String>> {
        let observer = connect(&self.backend.observer_url(&self.namespace)).await?;
        let fresh: Set = observer
            .lookup(&service())
            .await?
            .into_iter()
            .map(|one| (one.node.id.clone(), Arc::new(one)))
            .collect();
        for watched in &self.watched {
            let seen = watched.sees(self.begun).unwrap_or_default();
            if seen != fresh {
                let (seen, fresh) = (names(&seen), names(&fresh));
                let name = watched.name();
                return Ok(Some(format!("{name} has {seen}, a fresh lookup {fresh}")));
            }
        }
        for reader in &self.readers {
            if let Some(drift) = reader.verify().await?.first() {
                return Ok(Some(format!("{}: {drift}", reader.name())));
            }
        }
        Ok(None)
    }

    /// What must hold after every fault: watches and directories agree with a fresh list within
    /// 5 s, and no read ever found nobody to call.
    ///
    /// # Errors
    /// What does not.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn check(&self) -> Result<()> {
        self.converge(Duration::from_secs(5)).await?;
        for reader in &self.readers {
            let account = reader.account();
            let name = reader.name();
            ensure(account.reads > 0, || format!("{name} was never read"))?;
            ensure(account.empty == 0, || {
                format!(
                    "{name}: {} of {} reads were empty",
                    account.empty, account.reads
                )
            })?;
        }
        for watched in &self.watched {
            let wrongs = watched.wrongs();
            ensure(wrongs.is_empty(), || wrongs.join("; "))?;
        }
        let (answers, doubled) = self.lookups.answers(self.begun);
        ensure(answers > 0, || "no fresh lookup was answered")?;
        ensure(doubled == 0, || {
            format!("{doubled} lookups listed a node twice")
        })
    }

    /// Fails when one of the processes from `from` on was ever missing: what happens to others is
    /// no reason to remove a node.
    ///
    /// # Errors
    /// Which node was missing, and for how long.
    pub fn bystanders_stay(&self, from: usize) -> Result<()> {
        for node in PROCESSES.iter().skip(from).flatten() {
            let absence = self.lookups.absence(node, self.begun);
            ensure(absence.is_zero(), || {
                format!("{node}, which nothing happened to, was missing for {absence:?}")
            })?;
        }
        Ok(())
    }

    /// How long this process stood still at the worst: what a bound may be blamed on.
    #[must_use]
    pub fn stall(&self) -> Duration {
        let stalls = self.readers.iter().map(|reader| reader.account().stall);
        stalls.max().unwrap_or_default()
    }

    fn eyes(&self) -> impl Iterator<Item = &dyn Eye> {
        let watched = self.watched.iter().map(|eye| eye as &dyn Eye);
        let readers = self.readers.iter().map(|eye| eye as &dyn Eye);
        let lookups: &dyn Eye = &self.lookups;
        std::iter::once(lookups).chain(watched).chain(readers)
    }
}

/// Whether a set names the node.
#[must_use]
pub fn has(set: &Set, node: &str) -> bool {
    set.keys().any(|id| id.as_str() == node)
}

fn is_whole(set: &Set) -> bool {
    set.len() == 6 && PROCESSES.as_flattened().iter().all(|id| has(set, id))
}

fn names(set: &Set) -> String {
    let names: Vec<&str> = set.keys().map(NodeId::as_str).take(12).collect();
    let more = set.len().saturating_sub(names.len());
    let more = (more > 0).then(|| format!(" and {more} more"));
    format!("[{}]{}", names.join(" "), more.unwrap_or_default())
}
