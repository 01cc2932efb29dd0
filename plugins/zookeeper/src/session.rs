//! One session: the connection, what it owns, and the tasks that tend it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use waypost_plugin_kit::{Task, expire};
use zookeeper_client::{Client, Error as Told, SessionState, StateWatcher};

use crate::alarms::Alarms;
use crate::claims::{Claims, Token};
use crate::config::Config;
use crate::dial::dial;
use crate::error;
use crate::leash::Leash;
use crate::sane::sane;
use crate::znode::Znode;

mod doubt;

/// Znodes that are removed at the same time.
const REMOVALS: usize = 16;
/// Locks that the paths of a session share.
const TURNS: usize = 256;

/// A session at the server. Dropping it closes the session, and what it owned goes.
#[derive(Debug)]
pub(crate) struct Session {
    core: Arc<Core>,
    _tasks: [Task; 4],
}

impl std::ops::Deref for Session {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

/// What the tasks of a session share with it. They do not keep the session itself alive.
#[derive(Debug)]
pub(crate) struct Core {
    client: Client,
    leash: Arc<Leash>,
    config: Arc<Config>,
    claims: Mutex<Claims>,
    /// Whether the server was found to know the session no more.
    given_up: watch::Sender<bool>,
    /// Held by whoever asks the server that.
    doubting: tokio::sync::Mutex<()>,
    /// Tells the timer of a deadline before all others.
    sooner: Arc<Notify>,
    /// Znodes to remove if they are ours and nobody claims them.
    unclaimed: Mutex<BTreeSet<Arc<str>>>,
    more_unclaimed: Notify,
    /// One writer at a time and path. Paths share locks, whose number is fixed.
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    alarms: Alarms,
    /// The session itself, while another has taken its place and not yet all that it owns.
    retired: Mutex<Option<Arc<Session>>>,
}

impl Session {
    /// Opens a session of about `timeout`.
    ///
    /// # Cancel safety
    /// A dropped future leaves at most a session that the server ends.
    pub(crate) async fn open(config: Arc<Config>, timeout: Duration) -> Result<Self, Told> {
        let (client, leash) = dial(&config, timeout).await?;
        let claims = Claims::new(client.session_timeout());
        let core = Arc::new(Core {
            alarms: Alarms::new(client.clone(), config.is_ancient()),
            client,
            leash,
            config,
            claims: Mutex::new(claims),
            given_up: watch::Sender::new(false),
            doubting: tokio::sync::Mutex::new(()),
            sooner: Arc::default(),
            unclaimed: Mutex::default(),
            more_unclaimed: Notify::new(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            hasher: RandomState::new(),
            retired: Mutex::default(),
        });
        let (timed, followed, reaping) = (Arc::clone(&core), Arc::clone(&core), Arc::clone(&core));
        let _tasks = [
            expire(Arc::clone(&core.sooner), move |now| timed.sweep(now)),
            Task::spawn(async move { followed.follow_state().await }),
            Task::spawn(async move { reaping.remove_unclaimed().await }),
            Task::spawn(core.alarms.upkeep()),
        ];
        Ok(Self { core, _tasks })
    }
}

impl Session {
    /// Keeps the session until nothing stands under a claim of it, or it is over: closed at once it
    /// would take along what the session in its place has yet to make its own.
    pub(crate) fn retire(self: Arc<Self>) {
        let core = self.core();
        if !core.is_over() && !core.claims().is_empty() {
            *core.retired() = Some(self);
        }
    }

    /// What a task may hold on to: it does not keep the session's own tasks alive.
    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }
}

impl Core {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The ttl of everything that this session owns, as the server granted it.
    pub(crate) fn ttl(&self) -> Duration {
        self.client.session_timeout()
    }

    /// Whether a znode with this owner is ours.
    pub(crate) fn is_ours(&self, owner: i64) -> bool {
        owner == self.client.session_id().0
    }

    /// Whether the session has ended, for good.
    pub(crate) fn is_over(&self) -> bool {
        self.client.state().is_terminated() || *self.given_up.borrow()
    }

    /// Whether nothing stands under a claim.
    pub(crate) fn is_idle(&self) -> bool {
        self.claims().is_empty() && self.unclaimed().is_empty()
    }

    /// Watches that tell once.
    pub(crate) fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The client, once it is connected. What is sent before that waits in the client's queue and
    /// is done later even if nobody waits for it any more, so that nothing is.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn connected(&self) -> Result<&Client, Told> {
        let mut states = self.client.state_watcher();
        let mut state = states.state();
        let mut given_up = self.given_up.subscribe();
        loop {
            match state {
                _ if *given_up.borrow_and_update() => return Err(Told::SessionExpired),
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                    return Ok(&self.client);
                }
                SessionState::Disconnected => {
                    tokio::select! {
                        changed = states.changed() => state = changed,
                        _ = given_up.changed() => {}
                    }
                }
                SessionState::AuthFailed => return Err(Told::AuthFailed),
                SessionState::Closed => return Err(Told::ClientClosed),
                SessionState::Expired => return Err(Told::SessionExpired),
            }
        }
    }

    /// Waits for the turn to write `path`.
    pub(crate) async fn turn(&self, path: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let number = self.hasher.hash_one(path) % TURNS as u64;
        let number = usize::try_from(number).unwrap_or_default();
        self.turns[number].lock().await
    }

    /// Claims a path that was just written.
    pub(crate) fn claim(&self, path: &Arc<str>) -> (Token, watch::Receiver<()>) {
        let claim = self.claims().take(path, Instant::now());
        self.sooner.notify_one();
        claim
    }

    /// Ends a claim, if it is still there.
    pub(crate) fn release(&self, path: &str, token: Token) -> bool {
        let mut claims = self.claims();
        let held = claims.release(path, token);
        if claims.is_empty() {
            // A retired session may go.
            self.sooner.notify_one();
        }
        held
    }

    pub(crate) fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retired(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a retired session go: it is closed now, or when its last user has gone.
    fn leave(&self) {
        let retired = self.retired().take();
        // Outside of the lock: it may be the last one.
        drop(retired);
    }

    fn unclaimed(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.unclaimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `path` removed in the background, if it is ours and nobody claims it by then.
    pub(crate) fn abandon(&self, path: Arc<str>) {
        self.unclaimed().insert(path);
        self.more_unclaimed.notify_one();
    }

    fn sweep(&self, now: Instant) -> Option<Instant> {
        let (gone, next) = {
            let mut claims = self.claims();
            (claims.expire(now), claims.next_deadline())
        };
        for path in gone {
            self.abandon(path);
        }
        if next.is_none() && self.claims().is_empty() {
            self.leave();
        }
        next
    }

    /// Stops the claims' clock while there is no connection, and ends them with the session.
    async fn follow_state(&self) {
        let mut states: StateWatcher = self.client.state_watcher();
        let mut state = states.state();
        loop {
            match state {
                SessionState::Disconnected => {
                    *self.leash.cut() = Some(Instant::now());
                    self.claims().pause();
                }
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                    *self.leash.cut() = None;
                    // What was wrong with the servers is so no more.
                    self.config.outlook.forget();
                    self.claims().resume(Instant::now());
                    self.sooner.notify_one();
                }
                _ => {
                    self.claims().clear();
                    return self.leave();
                }
            }
            tokio::select! {
                changed = states.changed() => state = changed,
                () = self.leash.ended() => {
                    self.give_up();
                    return self.leave();
                }
            }
        }
    }

    /// Removes what was abandoned, for as long as the session lives.
    async fn remove_unclaimed(&self) {
        loop {
            let batch = std::mem::take(&mut *self.unclaimed());
            if batch.is_empty() {
                self.more_unclaimed.notified().await;
                continue;
            }
            if self.connected().await.is_err() {
                return;
            }
            let removals = batch.into_iter().map(|path| self.remove_if_unclaimed(path));
            stream::iter(removals)
                .buffer_unordered(REMOVALS)
                .collect::<()>()
                .await;
        }
    }

    async fn remove_if_unclaimed(&self, path: Arc<str>) {
        let _turn = self.turn(&path).await;
        if self.claims().is_claimed(&path) {
            return;
        }
        match sane(Znode::new(self, &path).remove_ours()).await {
            Ok(_) => {}
            Err(told) if error::ends_session(&told) => {}
            Err(told) if error::loses_connection(&told) => self.abandon(Arc::clone(&path)),
            Err(told) => {
                tracing::warn!(%path, error = %told, "a znode that nobody claims stays");
            }
        }
    }
}
