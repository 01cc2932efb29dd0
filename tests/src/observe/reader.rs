//! A directory, read two hundred times a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use waypost_core::{
    Directory, DirectoryOptions, Drift, Error, Followed, Freshness, Instance, Members, Registry,
    Result, ServiceName,
};

use crate::history::History;
use crate::random::record::{Stamp, What};

use super::{Eye, Set};

/// The time between two reads.
const EVERY: Duration = Duration::from_millis(5);

/// Reads a followed service as a caller on its way to a node does.
#[derive(Debug)]
pub struct Reader {
    name: String,
    followed: Followed,
    account: Arc<Mutex<Account>>,
    task: AbortHandle,
}

/// What the reads of a repetition came to.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// How many reads there were.
    pub reads: usize,
    /// How many found nobody to call.
    pub empty: usize,
    /// The longest time that one read took.
    pub slowest: Duration,
    /// The longest time between two reads: how long this process stood still.
    pub stall: Duration,
    /// When the directory went stale, each time.
    pub stale: Vec<Instant>,
    /// The last error that it was stale for.
    pub error: Option<Error>,
}

impl Reader {
    /// Follows `service` through a directory of its own and begins to read it.
    ///
    /// # Errors
    /// When it cannot be followed.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start(
        name: &str,
        registry: Arc<dyn Registry>,
        service: ServiceName,
        options: DirectoryOptions,
        history: History,
    ) -> Result<Self> {
        let directory = Directory::new(registry, options);
        let followed = directory.follow(service).await?;
        let account = Arc::default();
        let reading = read(
            name.to_owned(),
            followed.clone(),
            Arc::clone(&account),
            history,
        );
        Ok(Self {
            name: name.to_owned(),
            followed,
            account,
            task: tokio::spawn(reading).abort_handle(),
        })
    }

    /// What the reads came to since the last restart.
    #[must_use]
    pub fn account(&self) -> Account {
        self.lock().clone()
    }

    /// Begins a new account.
    pub fn restart(&self) {
        *self.lock() = Account::default();
    }

    /// Whether the directory follows at present.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.followed.freshness() == Freshness::Live
    }

    /// Its name in the timeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many members are there to be called, fallback included.
    #[must_use]
    pub fn candidates(&self) -> usize {
        self.followed.members().candidates().count()
    }

    /// What differs from a fresh list.
    ///
    /// # Errors
    /// The registry's.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn verify(&self) -> Result<Vec<Drift>> {
        self.followed.verify().await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Eye for Reader {
    fn name(&self) -> &str {
        Reader::name(self)
    }

    fn sees(&self, _since: Instant) -> Option<Set> {
        let members = self.followed.members();
        let live = members.live();
        Some(
            live.map(|one| (one.node.id.clone(), Arc::clone(one)))
                .collect(),
        )
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(name: String, followed: Followed, account: Arc<Mutex<Account>>, history: History) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = (followed.members().version(), true, false);
    let mut before = ticks.tick().await;
    let first = followed.freshness() == Freshness::Live;
    history.tell(&name, || shows(&followed.members(), first));
    let mut tally = Tally::default();
    loop {
        ticks.tick().await;
        let begun = Instant::now();
        let members = followed.members();
        let empty = members.candidates().next().is_none();
        let took = begun.elapsed();
        let is_live = followed.freshness() == Freshness::Live;
        let now = (members.version(), is_live, empty);
        let error = if is_live { None } else { followed.error() };
        {
            let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
            account.reads += 1;
            account.empty += usize::from(empty);
            account.slowest = account.slowest.max(took);
            account.stall = account.stall.max(begun - before);
            if last.1 && !is_live {
                account.stale.push(begun);
            }
            if error.is_some() {
                account.error.clone_from(&error);
            }
        }
        if let Some(reads) = tally.add(took, empty) {
            history.tell(&name, || reads);
        }
        if now != last {
            history.tell(&name, || shows(&members, is_live));
            let live = members.live().count();
            let fallback = members.fallback().count();
            let fresh = if is_live { "live" } else { "stale" };
            let why = error.map(|error| error.chain()).unwrap_or_default();
            history.note(
                &name,
                format!("{fresh}: {live} nodes + {fallback} fallback {why}"),
            );
        }
        last = now;
        before = begun;
    }
}

fn shows(members: &Members, live: bool) -> What {
    let stamp = |one: &Arc<Instance>| (one.node.id.to_string(), Stamp::from(&**one));
    What::Shows {
        set: members.live().map(stamp).collect(),
        fallback: members.fallback().count(),
        live,
    }
}

/// Reads that are told together, at once when one found nobody.
#[derive(Default)]
struct Tally {
    reads: usize,
    empty: usize,
    slowest: Duration,
}

impl Tally {
    /// How many reads are told together: those of a second.
    const TOGETHER: usize = 200;

    /// Adds a read; what the reads came to once there are enough of them.
    fn add(&mut self, took: Duration, empty: bool) -> Option<What> {
        self.reads += 1;
        self.empty += usize::from(empty);
        self.slowest = self.slowest.max(took);
        (self.reads == Self::TOGETHER || empty).then(|| {
            let Self {
                reads,
                empty,
                slowest,
            } = std::mem::take(self);
            What::Reads {
                reads,
                empty,
                slowest: slowest.as_micros() as u64,
            }
        })
    }
}
