//! One blocking query for everybody who has none of his own.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use waypost_core::{Error, ErrorKind, Result, ServiceName, SkipLog};
use waypost_plugin_kit::Task;

use crate::config::PROFILE;
use crate::http::{Agent, Agents, Since};
use crate::rounds::Rounds;
use crate::scan::Scan;

/// Where subscribers find the feed; there is none while there are none.
#[derive(Debug)]
pub(crate) struct Hub {
    source: Source,
    feed: Mutex<Weak<Feed>>,
}

/// The query and the task that asks it again and again.
#[derive(Debug)]
struct Feed {
    /// Counts the subscribers there ever were, each of whom wants a scan that began after he came.
    /// Who only listens is not counted.
    wanted: watch::Sender<u64>,
    ticks: watch::Receiver<Tick>,
    task: Task,
}

#[derive(Debug, Clone)]
struct Tick {
    /// The subscribers that this scan began after.
    answers: u64,
    scan: Option<Result<Arc<Scan>>>,
}

/// A place at the feed. The feed ends with the last of them.
#[derive(Debug)]
pub(crate) struct Subscription {
    feed: Arc<Feed>,
    ticks: watch::Receiver<Tick>,
    /// Scans for fewer subscribers than this are older than the subscription.
    number: u64,
}

impl Hub {
    /// A hub for the services whose names begin with `only`.
    pub(crate) fn new(agents: Arc<Agents>, only: &str, skipped: SkipLog) -> Self {
        let source = Source {
            agents,
            only: only.into(),
            skipped,
        };
        Self {
            source,
            feed: Mutex::new(Weak::new()),
        }
    }

    /// Takes part in the feed, which begins here if it does not run, from a scan on that begins now.
    pub(crate) fn subscribe(&self) -> Subscription {
        let mut subscription = self.listen();
        subscription.feed.wanted.send_modify(|wanted| {
            *wanted += 1;
            subscription.number = *wanted;
        });
        subscription
    }

    /// The same from the last scan on, if there is one: nobody is asked for another.
    pub(crate) fn listen(&self) -> Subscription {
        let feed = self.feed();
        Subscription {
            ticks: feed.ticks.clone(),
            feed,
            number: 0,
        }
    }

    fn feed(&self) -> Arc<Feed> {
        let mut place = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = place.upgrade()
            && !feed.has_ended()
        {
            return feed;
        }
        let (wanted, wishes) = watch::channel(0);
        let (sender, ticks) = watch::channel(Tick {
            answers: 0,
            scan: None,
        });
        let source = self.source.clone();
        let task = Task::spawn(async move {
            let error = source.run(wishes, &sender).await;
            sender.send_replace(Tick {
                answers: u64::MAX,
                scan: Some(Err(error)),
            });
        });
        let feed = Arc::new(Feed {
            wanted,
            ticks,
            task,
        });
        *place = Arc::downgrade(&feed);
        feed
    }
}

impl Feed {
    fn has_ended(&self) -> bool {
        matches!(self.ticks.borrow().scan, Some(Err(_))) || self.task.is_finished()
    }
}

impl Subscription {
    /// The next scan.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) -> Result<Arc<Scan>> {
        loop {
            let changed = self.ticks.changed().await;
            let tick = self.ticks.borrow_and_update().clone();
            match tick.scan {
                Some(Err(error)) => return Err(error),
                Some(Ok(scan)) if tick.answers >= self.number && changed.is_ok() => {
                    return Ok(scan);
                }
                _ if changed.is_err() => {
                    return Err(Error::new(ErrorKind::Closed, "the runtime has ended"));
                }
                _ => {}
            }
        }
    }
}

/// Where scans come from.
#[derive(Debug, Clone)]
struct Source {
    agents: Arc<Agents>,
    only: Arc<str>,
    skipped: SkipLog,
}

impl Source {
    async fn run(&self, wishes: watch::Receiver<u64>, ticks: &watch::Sender<Tick>) -> Error {
        match self.scan_again_and_again(wishes, ticks).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn scan_again_and_again(
        &self,
        mut wishes: watch::Receiver<u64>,
        ticks: &watch::Sender<Tick>,
    ) -> Result<std::convert::Infallible> {
        let mut answers = *wishes.borrow_and_update();
        let first = |agent: Agent| async move {
            let scan = self.scan(&agent, &Since::Now).await?;
            Ok((agent, scan))
        };
        let (agent, scan) = self.agents.any(first).await?;
        let mut rounds = Rounds::new(scan.index);
        let mut scan = Arc::new(scan);
        loop {
            ticks.send_replace(Tick {
                answers,
                scan: Some(Ok(Arc::clone(&scan))),
            });
            let since = Since::Index(scan.index);
            let paced = async {
                rounds.turn().await;
                self.scan(&agent, &since).await
            };
            let next = tokio::select! {
                biased;
                _ = wishes.changed() => {
                    answers = *wishes.borrow_and_update();
                    self.scan(&agent, &Since::Now).await
                }
                next = paced => next,
            };
            let mut next = next.inspect_err(|_| agent.leave())?;
            next.follow(&scan)?;
            rounds.answered(next.index);
            scan = Arc::new(next);
        }
    }

    async fn scan(&self, agent: &Agent, since: &Since) -> Result<Scan> {
        Scan::take(agent, &self.only, since, |name| self.name(name)).await
    }

    fn name(&self, name: &str) -> Option<ServiceName> {
        match ServiceName::foreign(name) {
            Ok(name) => Some(name),
            Err(error) => {
                let place = format!("service {name:?}");
                self.skipped.skip(PROFILE.driver, place, error.to_string());
                None
            }
        }
    }
}
