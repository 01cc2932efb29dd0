//! The keeper's shell: performs what the machine decides.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::deadline::late;
use crate::{Error, ErrorKind, Instance, Lease, RegisterOptions, Registry, Result};

use super::machine::{Input, Machine, Next};
use super::{Standing, State};

/// How long before each look for what an attempt without an answer wrote.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(800),
];

/// What the owner of a registration wants.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) instance: Instance,
    pub(super) generation: u64,
    pub(super) release: bool,
}

impl Wish {
    pub(super) fn new(instance: Instance) -> Self {
        Self {
            instance,
            generation: 1,
            release: false,
        }
    }
}

/// What has become of it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The latest generation that was written or refused.
    pub(super) written: u64,
    /// Why that generation was refused.
    pub(super) refusal: Option<Error>,
    /// The result of the release, once asked for.
    pub(super) released: Option<Result<()>>,
}

/// The task that keeps one instance registered.
pub(super) struct Keeper {
    pub(super) registry: Arc<dyn Registry>,
    /// Whose turn it is to write. Never closed.
    pub(super) turns: Arc<Semaphore>,
    pub(super) machine: Machine,
    pub(super) ttl: Duration,
    /// Longest time that one operation may take.
    pub(super) limit: Duration,
    /// Whether there is content that is yet to be written.
    pub(super) behind: bool,
    /// Whether an attempt had no answer, and none since: what it wrote may stand there.
    pub(super) unsure: bool,
    /// The ttl with which it was last shown as live, unless it is shown as something else since.
    pub(super) shown_live: Option<Duration>,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) standing: watch::Sender<Standing>,
}

impl Keeper {
    /// Runs until released, or until the registration is dropped. What is rare is boxed: every beat of
    /// every record visits this future, which had better be small.
    pub(super) async fn run(mut self) {
        let mut lease: Option<Box<dyn Lease>> = None;
        let mut next = Next::Register(Instant::now());
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            let wake = self.wait(next, lease.as_deref(), alarm.as_mut()).await;
            let input = match (wake, next, &mut lease) {
                (Wake::Release, _, _) => break,
                (Wake::Lost(error), _, _) => Input::Lost(error),
                (Wake::Wished | Wake::Due, Next::Renew(_), Some(held)) => {
                    // A beat also carries what could not be written before.
                    if self.behind {
                        Box::pin(self.update(&mut **held, alarm.as_mut())).await
                    } else {
                        self.renew(&mut **held, alarm.as_mut()).await
                    }
                }
                (Wake::Wished, Next::Register(_), _) => continue,
                (Wake::Due, _, _) => Box::pin(self.register(&mut lease)).await,
                (Wake::Wished, Next::Renew(_), None) => continue,
            };
            next = self.step(input);
        }
        Box::pin(self.release(lease)).await;
    }

    /// Waits until something is to be done.
    async fn wait(
        &mut self,
        next: Next,
        lease: Option<&dyn Lease>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Wake {
        let (Next::Register(at) | Next::Renew(at)) = next;
        alarm.as_mut().reset(at);
        let watched = lease.filter(|_| matches!(next, Next::Renew(_)));
        let lost = async {
            match watched {
                Some(lease) => lease.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            release = wished(&mut self.wish) => {
                self.behind = true;
                if release { Wake::Release } else { Wake::Wished }
            }
            error = lost => Wake::Lost(error),
            () = alarm => Wake::Due,
        }
    }

    /// Runs to its end even when a release is asked for meanwhile: a registration whose outcome
    /// is unknown could not be undone.
    async fn register(&mut self, lease: &mut Option<Box<dyn Lease>>) -> Input {
        *lease = None;
        let turns = Arc::clone(&self.turns);
        let _turn = turns.acquire().await;
        let (instance, generation) = self.wanted();
        let options = RegisterOptions::new(self.ttl);
        self.machine.begin(Instant::now());
        let work = self.registry.register(&instance, options);
        let result = timeout(self.limit, work).await;
        match self.named("register", result) {
            Ok(granted) => {
                let ttl = granted.ttl();
                *lease = Some(granted);
                self.unsure = false;
                self.wrote(generation, None);
                Input::Registered(ttl)
            }
            Err(error) => {
                self.unsure |= error.kind() == ErrorKind::Timeout;
                if refused(&error) {
                    self.wrote(generation, Some(error.clone()));
                }
                Input::RegisterFailed(error)
            }
        }
    }

    async fn update(&mut self, lease: &mut dyn Lease, alarm: Pin<&mut Sleep>) -> Input {
        let (instance, generation) = self.wanted();
        self.machine.begin(Instant::now());
        let result = timeout(self.limit, lease.update(&instance)).await;
        match self.named("update", result) {
            Ok(()) => self.wrote(generation, None),
            Err(error) if refused(&error) => self.wrote(generation, Some(error)),
            Err(error) => return Input::RenewFailed(error),
        }
        // Not every backend prolongs a lease when its record is written.
        self.renew(lease, alarm).await
    }

    /// Borrows the alarm of the next beat, which is put off anyway.
    async fn renew(&mut self, lease: &mut dyn Lease, mut alarm: Pin<&mut Sleep>) -> Input {
        let now = Instant::now();
        self.machine.begin(now);
        alarm.as_mut().reset(now + self.limit);
        let result = tokio::select! {
            biased;
            result = lease.renew() => Ok(result),
            () = alarm => Err(()),
        };
        match self.named("renew", result) {
            Ok(()) => Input::Renewed,
            Err(error) => Input::RenewFailed(error),
        }
    }

    /// The result of an operation that was bounded, with an error that says of what.
    fn named<T, Late>(
        &self,
        operation: &'static str,
        result: Result<Result<T>, Late>,
    ) -> Result<T> {
        let result = result.unwrap_or_else(|_| Err(late(self.limit)));
        result.map_err(|error| {
            let key = self.wish.borrow().instance.key();
            let driver = self.registry.profile().driver;
            error.with_operation(operation, key).with_driver(driver)
        })
    }

    async fn release(self, lease: Option<Box<dyn Lease>>) {
        // A registry that does not answer is not worth queueing for.
        let live = self.standing.borrow().state == State::Live;
        let _turn = if live {
            Some(self.turns.acquire().await)
        } else {
            None
        };
        let result = match lease {
            Some(lease) => {
                let result = timeout(self.limit, lease.revoke()).await;
                match self.named("revoke", result) {
                    Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
                    result => result,
                }
            }
            None if self.unsure => {
                let result = timeout(self.limit, self.withdraw()).await;
                self.named("release", result)
            }
            None => Ok(()),
        };
        let from = self.standing.borrow().state;
        let cause = result.as_ref().err().cloned();
        self.standing.send_modify(|standing| {
            standing.state = State::Released;
            standing.since = Instant::now();
            standing.cause = cause.clone();
        });
        self.tell(from, State::Released, cause.as_ref());
        self.progress
            .send_modify(|progress| progress.released = Some(result));
    }

    /// Removes what an attempt without an answer wrote, when it has been written or is so shortly.
    /// A record at another address is somebody else's who has taken the id.
    async fn withdraw(&self) -> Result<()> {
        let (instance, _) = self.wanted();
        let is_ours = |found: &Instance| {
            found.node.id == instance.node.id && found.node.address == instance.node.address
        };
        for pause in LOOKS {
            sleep(pause).await;
            let found = self.registry.lookup(&instance.service).await?;
            if found.iter().any(is_ours) {
                return self.registry.deregister(&instance.key()).await;
            }
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> Next {
        let next = self.machine.step(input, Instant::now());
        let standing = self.machine.standing();
        let live = standing.ttl.filter(|_| standing.state == State::Live);
        if live.is_some() && live == self.shown_live {
            // A beat is no news, and most steps are beats.
            return next;
        }
        self.shown_live = live;
        let from = self.standing.borrow().state;
        if from != standing.state {
            self.tell(from, standing.state, standing.cause.as_ref());
        }
        let same_cause = |old: &Standing| {
            old.cause.as_ref().map(Error::kind) == standing.cause.as_ref().map(Error::kind)
        };
        self.standing.send_if_modified(|old| {
            let news = old.state != standing.state || !same_cause(old) || old.ttl != standing.ttl;
            *old = standing.clone();
            news
        });
        next
    }

    /// One log line and one count a change of state, never one a beat.
    fn tell(&self, from: State, to: State, cause: Option<&Error>) {
        let key = self.wish.borrow().instance.key();
        let driver = self.registry.profile().driver;
        metrics::counter!(
            "waypost_registration_transitions_total",
            "service" => key.service.to_string(), "state" => to.as_str(),
        )
        .increment(1);
        let cause = cause.map(Error::chain).unwrap_or_default();
        let (from, to_name) = (from.as_str(), to.as_str());
        match to {
            State::Live | State::Released | State::Registering => {
                tracing::info!(driver, %key, from, to = to_name, cause, "registration");
            }
            State::Degraded | State::Lost => {
                tracing::warn!(driver, %key, from, to = to_name, cause, "registration");
            }
        }
    }

    fn wanted(&self) -> (Instance, u64) {
        let wish = self.wish.borrow();
        (wish.instance.clone(), wish.generation)
    }

    fn wrote(&mut self, generation: u64, refusal: Option<Error>) {
        self.behind = self.wish.borrow().generation > generation;
        self.progress.send_if_modified(|progress| {
            let news = progress.written < generation;
            if news {
                progress.written = generation;
                progress.refusal = refusal;
            }
            news
        });
    }
}

enum Wake {
    Due,
    Wished,
    Lost(Error),
    Release,
}

/// Waits for a wish; tells whether it is to release. Pending once the registration is dropped:
/// the task is being aborted then, and must not revoke on its way out.
async fn wished(wish: &mut watch::Receiver<Wish>) -> bool {
    match wish.changed().await {
        Ok(()) => wish.borrow_and_update().release,
        Err(_) => std::future::pending().await,
    }
}

/// Whether the registry will never take this content.
fn refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Config | ErrorKind::Unsupported)
}
