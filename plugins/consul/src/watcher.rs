//! Following a service, or all of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use waypost_core::{
    BoxWatcher, Change, Error, ErrorKind, Event, Instance, Result, ServiceName, WatchScope,
};
use waypost_plugin_kit::{Known, Publisher, Task, channel};

use crate::calls::Rights;
use crate::config::PROFILE;
use crate::error;
use crate::feed::Subscription;
use crate::http::{Agent, Since};
use crate::record;
use crate::registry::{READS_AT_ONCE, Shared};
use crate::rounds::Rounds;
use crate::scan::{Print, Scan};

/// Unread changes that a watcher holds one by one, before they are folded to the latest state.
const UNREAD: usize = 1024;

/// Follows `scope` in a task of its own, which ends with the stream.
pub(crate) fn watch(shared: Arc<Shared>, scope: WatchScope) -> BoxWatcher {
    let (publisher, events) = channel(UNREAD);
    let task = Task::spawn(async move {
        let ended = match &scope {
            WatchScope::All => Many::new(&shared, &publisher).follow(None).await,
            WatchScope::Service(service) => match shared.seats.try_acquire() {
                Ok(_seat) => follow_one(&shared, service, &publisher).await,
                Err(_) => Many::new(&shared, &publisher).follow(Some(service)).await,
            },
        };
        let error: Error = match ended {
            Ok(never) => match never {},
            Err(error) => error,
        };
        publisher.fail(
            error
                .with_operation("watch", scope)
                .with_driver(PROFILE.driver),
        );
    });
    Box::pin(events.fed_by(task))
}

fn told(changes: Vec<Change>) -> Event {
    if changes.is_empty() {
        Event::Confirmed
    } else {
        Event::Changed(changes)
    }
}

/// Follows one service by a blocking query of its own.
async fn follow_one(
    shared: &Shared,
    service: &ServiceName,
    publisher: &Publisher,
) -> Result<Infallible> {
    let first = |agent: Agent| async move {
        let read = agent.entries(service.as_str(), &Since::Now).await?;
        let read = agent.proven(service.as_str(), read).await?;
        Ok((agent, read))
    };
    let (agent, read) = shared.agents.any(first).await?;
    let mut rounds = Rounds::new(read.index);
    let live = record::instances(service, read.what, &shared.skipped);
    let mut known = Known::from_iter(live);
    publisher.publish(Event::Snapshot(known.instances()));
    loop {
        rounds.turn().await;
        let read = agent.entries(service.as_str(), rounds.since()).await;
        let mut read = read.inspect_err(|_| agent.leave())?;
        let unwritten = read.index == rounds.index();
        if read.what.is_empty() && !known.is_empty() && !unwritten {
            read = agent.proven(service.as_str(), read).await?;
        }
        let live = record::instances(service, read.what, &shared.skipped);
        let changes = known.replace(live);
        let is_removal = |change: &Change| matches!(change, Change::Remove(_));
        if unwritten && changes.iter().any(is_removal) {
            return Err(error::vanished());
        }
        publisher.publish(told(changes));
        rounds.answered(read.index);
    }
}

/// Follows many services, or one that has no query of its own, by the feed.
struct Many<'a> {
    shared: &'a Shared,
    publisher: &'a Publisher,
    seen: BTreeMap<ServiceName, (Print, Vec<Arc<Instance>>)>,
    known: Known,
}

impl<'a> Many<'a> {
    fn new(shared: &'a Shared, publisher: &'a Publisher) -> Self {
        Self {
            shared,
            publisher,
            seen: BTreeMap::new(),
            known: Known::new(),
        }
    }

    async fn follow(mut self, only: Option<&ServiceName>) -> Result<Infallible> {
        let mut feed = self.shared.hub(only).subscribe();
        self.read(&*feed.next().await?, only).await?;
        if self.instances().is_empty() && self.prove(only).await? == Rights::Granted {
            // The rights may have come after that was read.
            feed = self.read_anew(only).await?;
        }
        self.known.replace(self.instances());
        self.publisher
            .publish(Event::Snapshot(self.known.instances()));
        loop {
            let scan = feed.next().await?;
            if !self.read(&scan, only).await? {
                self.publisher.publish(Event::Confirmed);
                continue;
            }
            let ends = self.instances().is_empty() && !self.known.is_empty();
            if ends && self.prove(only).await? == Rights::Granted {
                feed = self.read_anew(only).await?;
            }
            let changes = self.known.replace(self.instances());
            self.publisher.publish(told(changes));
        }
    }

    fn instances(&self) -> Vec<Arc<Instance>> {
        let services = self.seen.values();
        services
            .flat_map(|(_, instances)| instances.iter().cloned())
            .collect()
    }

    /// Reads everything by a scan that begins now.
    async fn read_anew(&mut self, only: Option<&ServiceName>) -> Result<Subscription> {
        let mut feed = self.shared.hub(only).subscribe();
        self.seen.clear();
        self.read(&*feed.next().await?, only).await?;
        Ok(feed)
    }

    async fn prove(&self, only: Option<&ServiceName>) -> Result<Rights> {
        let service = only.map_or(self.shared.only.as_str(), ServiceName::as_str);
        let prove = |agent: Agent| async move { agent.prove(service).await };
        self.shared.agents.any(prove).await
    }

    /// Reads the services that have changed by `scan`; tells whether there are any.
    async fn read(&mut self, scan: &Scan, only: Option<&ServiceName>) -> Result<bool> {
        let names: Vec<&ServiceName> = match only {
            Some(only) => vec![only],
            None => scan.names().collect(),
        };
        let before = self.seen.len();
        if only.is_none() {
            self.seen.retain(|name, _| scan.print(name).1.is_some());
        }
        let gone = self.seen.len() != before;
        let changed = names.into_iter().filter(|name| {
            let print = self.seen.get(*name).map(|(print, _)| *print);
            print != Some(scan.print(name))
        });
        let changed: Vec<_> = changed.cloned().collect();
        let is_new = gone || !changed.is_empty();
        let shared = self.shared;
        let mut reads = stream::iter(changed)
            .map(|name| async move {
                let live = live(shared, &name).await?;
                Ok::<_, Error>((name, live))
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some(read) = reads.next().await {
            let (name, live) = read?;
            let print = scan.print(&name);
            self.seen.insert(name, (print, live));
        }
        Ok(is_new)
    }
}

async fn live(shared: &Shared, service: &ServiceName) -> Result<Vec<Arc<Instance>>> {
    let ask = |agent: Agent| async move { shared.live(&agent, service).await };
    match shared.agents.any(ask).await {
        Ok(live) => Ok(live.into_iter().map(Arc::new).collect()),
        // One service that cannot be read hides no other.
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let place = format!("service {service}");
            shared
                .skipped
                .skip(PROFILE.driver, place, error.to_string());
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
