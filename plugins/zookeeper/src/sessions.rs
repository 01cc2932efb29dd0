//! The sessions of one registry: one a ttl, opened when needed, replaced when over.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;
use waypost_core::{Error, Result};
use zookeeper_client::Error as Told;

use crate::config::Config;
use crate::error;
use crate::session::Session;

/// Sessions of one registry at the same time. A server counts connections by address, sixty of
/// one by default.
const MAX_SESSIONS: usize = 4;

/// How long after a failure to open a session nothing is dialled, …
const AGAIN: Duration = Duration::from_millis(250);
/// … and how long while the failures are young: those who ask have not learnt yet to ask seldom.
const AGAIN_AT_FIRST: Duration = Duration::from_millis(1_500);
/// Until then failures are young.
const YOUNG: Duration = Duration::from_secs(5);

type Opening = BoxFuture<'static, Result<Arc<Session>>>;

/// The sessions, by the timeout that was asked for.
#[derive(Debug)]
pub(crate) struct Sessions {
    config: Arc<Config>,
    slots: Mutex<BTreeMap<Duration, Slot>>,
    /// The latest failure to open a session, if no try has succeeded since.
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Failure {
    /// The first one of a row.
    since: Instant,
    at: Instant,
    error: Error,
}

impl Failure {
    /// Whether it is too early to try again.
    fn is_fresh(&self) -> bool {
        let young = self.at - self.since < YOUNG;
        self.at.elapsed() < if young { AGAIN_AT_FIRST } else { AGAIN }
    }
}

#[derive(Debug)]
enum Slot {
    /// Somebody waits for it; gone when nobody does any more.
    Opening(WeakShared<Opening>),
    Open(Arc<Session>),
}

impl Slot {
    /// The session, if it can be used now or in a moment. One that is cut off for longer lives on
    /// with those who have leases of it.
    fn usable(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Open(session) if !session.is_over() && !session.is_cut_off() => Some(session),
            _ => None,
        }
    }

    /// Whether nobody would miss it.
    fn is_idle(&self) -> bool {
        match self {
            Self::Opening(opening) => opening.upgrade().is_none(),
            Self::Open(session) => {
                session.is_over() || (Arc::strong_count(session) == 1 && session.is_idle())
            }
        }
    }
}

impl Sessions {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            slots: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// A session for records of this ttl.
    ///
    /// # Cancel safety
    /// Safe; others that wait for the same session go on.
    pub(crate) async fn for_ttl(&self, ttl: Duration) -> Result<Arc<Session>> {
        let (timeout, opening) = {
            let mut slots = self.slots();
            let timeout = choose(&mut slots, whole_seconds(ttl));
            let opening = match slots.get(&timeout) {
                Some(slot) if slot.usable().is_some() => None,
                Some(Slot::Opening(opening)) => opening.upgrade(),
                _ => None,
            };
            if let Some(session) = slots.get(&timeout).and_then(Slot::usable) {
                return Ok(Arc::clone(session));
            }
            let opening = match opening {
                Some(opening) => opening,
                None => self.begin(&mut slots, timeout)?,
            };
            (timeout, opening)
        };
        let session = opening.await.inspect_err(|error| self.failed(error))?;
        *self.failure() = None;
        let mut slots = self.slots();
        match slots.get(&timeout).and_then(Slot::usable) {
            Some(session) => Ok(Arc::clone(session)),
            None => {
                replace(&mut slots, timeout, Slot::Open(Arc::clone(&session)));
                Ok(session)
            }
        }
    }

    /// Begins to open a session, unless a try has failed a moment ago: many ask, one after the
    /// other, and each would dial.
    fn begin(
        &self,
        slots: &mut BTreeMap<Duration, Slot>,
        timeout: Duration,
    ) -> Result<Shared<Opening>> {
        if let Some(failure) = &*self.failure()
            && failure.is_fresh()
        {
            return Err(failure.error.clone());
        }
        let opening = open(Arc::clone(&self.config), timeout).boxed().shared();
        if let Some(weak) = opening.downgrade() {
            replace(slots, timeout, Slot::Opening(weak));
        }
        Ok(opening)
    }

    /// Finds out whether a session that is cut off is gone for good, so that its leases need not
    /// wait for the client to give it up.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn doubt(&self, session: &Session) -> Result<()> {
        let other = self.for_reading().await?;
        let doubted = session.give_up_if_unknown(&other).await;
        doubted.map_err(|told| error::translate(&told))
    }

    /// Any session that is there, for reading, a connected one first; else a new one.
    async fn for_reading(&self) -> Result<Arc<Session>> {
        let found = {
            let slots = self.slots();
            let own = slots.get(&whole_seconds(self.config.session_timeout));
            let all = own.into_iter().chain(slots.values());
            let usable = all.filter_map(Slot::usable);
            usable
                .min_by_key(|session| !session.is_connected())
                .cloned()
        };
        match found {
            Some(session) => Ok(session),
            None => self.for_ttl(self.config.session_timeout).await,
        }
    }

    /// Reads, and once more if the connection or the session was lost on the way.
    ///
    /// # Cancel safety
    /// Safe if `read` is.
    pub(crate) async fn read<T, R>(&self, read: impl Fn(Arc<Session>) -> R) -> Result<T>
    where
        R: Future<Output = Result<T, Told>>,
    {
        let mut lost = Told::ConnectionLoss;
        for _ in 0..2 {
            let session = self.for_reading().await?;
            let result = match session.connected().await {
                Ok(_) => read(Arc::clone(&session)).await,
                Err(told) => Err(told),
            };
            match result {
                Err(told) if error::loses_connection(&told) || error::ends_session(&told) => {
                    lost = told;
                }
                result => return result.map_err(|told| self.config.translate(&told)),
            }
        }
        Err(error::translate(&lost))
    }

    fn failed(&self, error: &Error) {
        let (at, error) = (Instant::now(), error.clone());
        let mut failure = self.failure();
        let since = failure.as_ref().map_or(at, |failure| failure.since);
        *failure = Some(Failure { since, at, error });
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Duration, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a slot in the place of another, whose session is kept for as long as it owns anything.
fn replace(slots: &mut BTreeMap<Duration, Slot>, timeout: Duration, slot: Slot) {
    if let Some(Slot::Open(former)) = slots.insert(timeout, slot) {
        former.retire();
    }
}

async fn open(config: Arc<Config>, timeout: Duration) -> Result<Arc<Session>> {
    match Session::open(Arc::clone(&config), timeout).await {
        Ok(session) => Ok(Arc::new(session)),
        Err(told @ (Told::NoHosts | Told::Timeout)) => {
            let outlook = &config.outlook;
            let found = outlook.explain(&config.addresses, config.material()).await;
            let error = error::translate(&told);
            Err(Error::new(error.kind(), format!("{error}: {found}")))
        }
        Err(told) => Err(config.translate(&told)),
    }
}

/// Sessions are shared by ttls that round up to the same second.
fn whole_seconds(ttl: Duration) -> Duration {
    let second = u64::from(ttl.subsec_nanos() > 0);
    Duration::from_secs(ttl.as_secs().saturating_add(second))
}

/// Which slot serves `timeout`: its own, unless there are too many already. Then it is the next
/// longer one, whose records a dead owner leaves behind longer, but never the shorter.
fn choose(slots: &mut BTreeMap<Duration, Slot>, timeout: Duration) -> Duration {
    if slots.contains_key(&timeout) || slots.len() < MAX_SESSIONS {
        return timeout;
    }
    slots.retain(|_, slot| !slot.is_idle());
    if slots.len() < MAX_SESSIONS {
        return timeout;
    }
    let longer = slots.range(timeout..).next();
    let longest = slots.last_key_value();
    longer.or(longest).map_or(timeout, |(chosen, _)| *chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(pending: &Shared<Opening>, seconds: &[u64]) -> BTreeMap<Duration, Slot> {
        let slot = || Slot::Opening(pending.downgrade().expect("pending"));
        let seconds = seconds.iter().copied().map(Duration::from_secs);
        seconds.map(|timeout| (timeout, slot())).collect()
    }

    #[test]
    fn ttls_of_the_same_second_share_a_session() {
        for (millis, seconds) in [(4000, 4), (4001, 5), (4999, 5), (30_000, 30)] {
            let whole = whole_seconds(Duration::from_millis(millis));
            assert_eq!(whole, Duration::from_secs(seconds));
        }
        assert_eq!(whole_seconds(Duration::MAX).as_secs(), u64::MAX);
    }

    #[test]
    fn there_are_few_sessions_however_many_ttls() {
        let pending: Opening = std::future::pending().boxed();
        let pending = pending.shared();
        let mut few = slots(&pending, &[4, 10, 30]);
        assert_eq!(choose(&mut few, Duration::from_secs(5)).as_secs(), 5);
        let mut full = slots(&pending, &[4, 10, 30, 40]);
        for (asked, chosen) in [(10, 10), (5, 10), (11, 30), (3600, 40), (1, 4)] {
            let timeout = choose(&mut full, Duration::from_secs(asked));
            assert_eq!(timeout.as_secs(), chosen, "{asked}");
        }
        drop(pending);
        let chosen = choose(&mut full, Duration::from_secs(5));
        assert_eq!(
            (chosen.as_secs(), full.len()),
            (5, 0),
            "nobody waits for the others"
        );
    }

    #[tokio::test]
    async fn nobody_listening_is_said_so_and_many_waiters_share_one_try() {
        let url = "zookeeper://127.0.0.1:1";
        let target = waypost_core::Target::parse(url, None, waypost_core::Origin::Code);
        let config = Config::read(&target.expect("target")).expect("config");
        let sessions = Sessions::new(Arc::new(config));
        let all = (0..8).map(|_| sessions.for_ttl(Duration::from_secs(4)));
        for result in futures_util::future::join_all(all).await {
            let error = result.expect_err("nobody there");
            assert_eq!(error.kind(), waypost_core::ErrorKind::Unavailable);
            assert_eq!(
                error.to_string(),
                "no server could be reached: 127.0.0.1:1 refuses connections"
            );
        }
    }
}
