//! The one keeper of leases: registers an instance and keeps it registered.

mod machine;
mod task;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::{Error, ErrorKind, Instance, Registry, Result};

use self::machine::Machine;
use self::task::{Keeper, Progress, Wish};

/// The default ttl of a record.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// Longest time that one operation of the keeper may take, and the longest even where the ttl is
/// so short that a third of it would leave no room for a second endpoint.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);
const LEAST_OPERATION_LIMIT: Duration = Duration::from_secs(2);

/// How to keep an instance registered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistrationOptions {
    /// How long the backend keeps the record if nobody renews it. Default 30 s.
    pub ttl: Duration,
    /// How often to renew. Default a third of the granted ttl, which also replaces an interval
    /// that is not below the granted ttl.
    pub interval: Option<Duration>,
}

impl Default for RegistrationOptions {
    fn default() -> Self {
        Self {
            ttl: DEFAULT_TTL,
            interval: None,
        }
    }
}

impl RegistrationOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ttl.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the interval.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Checks ttl and interval against each other and against the least ttl that a registry takes
    /// ([`Profile::least_ttl`](crate::Profile::least_ttl)), as [`Registration::start`] does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the value and the rule it breaks.
    pub fn validate(&self, least_ttl: Duration) -> Result<()> {
        if self.ttl.is_zero() {
            return Err(Error::config("register ttl is 0; a record needs one"));
        }
        if self.ttl < least_ttl {
            return Err(Error::config(format!(
                "register ttl {:?} is below {least_ttl:?}, the least this registry takes",
                self.ttl
            )));
        }
        if self.ttl > Duration::from_secs(365 * 24 * 3600) {
            return Err(Error::config(format!(
                "register ttl {:?} is over a year",
                self.ttl
            )));
        }
        match self.interval {
            Some(interval) if interval.is_zero() => Err(Error::config("register interval is 0")),
            Some(interval) if interval >= self.ttl => Err(Error::config(format!(
                "register interval {interval:?} is not below the ttl {:?}; the record would expire \
                 between two renewals",
                self.ttl
            ))),
            _ => Ok(()),
        }
    }
}

/// Where a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not registered yet; trying.
    Registering,
    /// Registered, and the last renewal succeeded.
    Live,
    /// The registry refuses or does not answer; the record may still be there. Trying.
    Degraded,
    /// The record is gone, or must be by now. Registering anew.
    Lost,
    /// Deregistered; final.
    Released,
}

impl State {
    /// The state as one lower-case word, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registering => "registering",
            Self::Live => "live",
            Self::Degraded => "degraded",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }
}

/// What is known of a registration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Standing {
    /// Where it stands.
    pub state: State,
    /// The granted ttl, once there is one.
    pub ttl: Option<Duration>,
    /// The latest failure; `None` while [`State::Live`].
    pub cause: Option<Error>,
    /// Since when it is in this state.
    pub since: tokio::time::Instant,
}

/// Keeps one instance registered: renews on an interval, registers anew when the lease is lost,
/// and never gives up.
///
/// * Beats of all registrations of a process share slots of 100 ms, so that thousands of records
///   cost well under a hundredth of a core.
/// * A failed operation is tried again with jitter, at most 5 s apart, for ever; a refusal
///   (wrong password) too, logged once and visible as [`State::Degraded`].
/// * After a ttl without success, on [`Lease::lost`](crate::Lease::lost), or when a renewal says
///   so, the record is registered anew, spread over half of the interval (a third, where that is
///   under a second) and 5 s at most, so that a fleet whose leases vanish together does not return
///   as one blow.
/// * A record that is lost three times within a ttl of being registered is claimed by another
///   process too. It is then registered once an interval at most: two that share an id do not flap.
///
/// Dropping a `Registration` stops renewing: the record goes with its ttl. Use
/// [`Registration::release`] to remove it at once.
///
/// ```
/// # use std::sync::Arc;
/// # use waypost_core::{Address, Instance, Node, NodeId, Registration, RegistrationOptions, Registry, ServiceName};
/// # async fn example(registry: Arc<dyn Registry>) -> waypost_core::Result<()> {
/// let node = Node::new(NodeId::new("orders-1")?, Address::new("10.0.0.5:8080")?);
/// let instance = Instance::new(ServiceName::new("orders")?, node);
/// let registration = Registration::start(registry, instance, RegistrationOptions::new())?;
/// registration.live().await?;
/// // … serve …
/// registration.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Registration {
    wish: watch::Sender<Wish>,
    progress: watch::Receiver<Progress>,
    standing: watch::Receiver<Standing>,
    task: AbortHandle,
}

impl Registration {
    /// Begins to register `instance` in the background and to keep it registered.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an instance, ttl or interval that breaks a rule, or outside of a
    /// tokio runtime; [`ErrorKind::Unsupported`] on a registry that cannot be written.
    pub fn start(
        registry: Arc<dyn Registry>,
        instance: Instance,
        options: RegistrationOptions,
    ) -> Result<Self> {
        let profile = *registry.profile();
        let named = |error: Error| {
            error
                .with_operation("register", instance.key())
                .with_driver(profile.driver)
        };
        instance.validate().map_err(named)?;
        options.validate(profile.least_ttl).map_err(named)?;
        if !profile.writable {
            let text = "this registry cannot be written";
            return Err(named(Error::new(ErrorKind::Unsupported, text)));
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            named(Error::config("no tokio runtime is running").with_source(error))
        })?;

        let limit = (options.ttl / 3).clamp(LEAST_OPERATION_LIMIT, OPERATION_LIMIT);
        let machine = Machine::new(options.interval, tokio::time::Instant::now());
        let (standing_sender, standing) = watch::channel(machine.standing().clone());
        let (wish, wish_receiver) = watch::channel(Wish::new(instance));
        let (progress_sender, progress) = watch::channel(Progress::default());
        let keeper = Keeper {
            turns: turns::of(&registry),
            registry,
            machine,
            ttl: options.ttl,
            limit,
            behind: false,
            unsure: false,
            shown_live: None,
            wish: wish_receiver,
            progress: progress_sender,
            standing: standing_sender,
        };
        let task = runtime.spawn(keeper.run()).abort_handle();
        Ok(Self {
            wish,
            progress,
            standing,
            task,
        })
    }

    /// Where the registration stands, now and from now on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Waits until the record is registered.
    ///
    /// # Errors
    /// The registry's error when it is one that waiting does not mend
    /// ([`ErrorKind::Config`], [`ErrorKind::Unsupported`], [`ErrorKind::Denied`]); the keeper goes
    /// on trying all the same. Other failures are waited out.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn live(&self) -> Result<()> {
        let mut standing = self.standing.clone();
        let settled = standing
            .wait_for(|standing| standing.state == State::Live || hopeless(standing).is_some())
            .await
            .map_err(|_| closed())?;
        match hopeless(&settled) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Gives the record new content, under the same key, and waits until it is written.
    ///
    /// Updates that come faster than they can be written are coalesced: the last one wins.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `instance` breaks a rule or has another key; the registry's
    /// error when it refuses the content. While the registry is down this waits.
    ///
    /// # Cancel safety
    /// The update stays wished for when the future is dropped, and is still written.
    pub async fn update(&self, instance: Instance) -> Result<()> {
        instance.validate()?;
        let key = self.wish.borrow().instance.key();
        if key != instance.key() {
            return Err(Error::config(format!(
                "a registration of {key} cannot become {}",
                instance.key()
            )));
        }
        let mut generation = 0;
        self.wish.send_modify(|wish| {
            wish.instance = instance;
            wish.generation += 1;
            generation = wish.generation;
        });
        let mut progress = self.progress.clone();
        let done = progress
            .wait_for(|progress| progress.written >= generation)
            .await
            .map_err(|_| closed())?;
        done.refusal.clone().map_or(Ok(()), Err)
    }

    /// Deregisters: ends the lease, removes the record if it is still ours. Final; nothing renews
    /// or recreates it afterwards. Where the last attempt to register had no answer, what it may have
    /// written is looked for and removed, for up to a second longer.
    ///
    /// # Errors
    /// The registry's error when it could not be told; the record then goes with its ttl. Returns
    /// within the keeper's operation limit (at most 10 s) even if the registry is dead; twice that
    /// when it was asked for in the middle of an attempt.
    ///
    /// # Cancel safety
    /// When the future is dropped the registration is dropped with it: the record then goes with
    /// its ttl at the latest.
    pub async fn release(self) -> Result<()> {
        self.wish.send_modify(|wish| wish.release = true);
        let mut progress = self.progress.clone();
        progress
            .wait_for(|progress| progress.released.is_some())
            .await
            .map_err(|_| closed())?
            .released
            .clone()
            .unwrap_or(Ok(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn hopeless(standing: &Standing) -> Option<&Error> {
    standing.cause.as_ref().filter(|error| {
        standing.state != State::Live
            && matches!(
                error.kind(),
                ErrorKind::Config | ErrorKind::Unsupported | ErrorKind::Denied
            )
    })
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the registration has ended")
}

#[cfg(test)]
mod tests;
