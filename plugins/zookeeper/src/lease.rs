//! A claim on one ephemeral znode.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_core::{Error, Instance, InstanceKey, Lease, Result};
use waypost_plugin_kit::{Task, codec};
use zookeeper_client::{Error as Told, Stat};

use crate::claims::Token;
use crate::config::DRIVER;
use crate::error;
use crate::guard;
use crate::sane::sane;
use crate::session::{Core, Session};
use crate::sessions::Sessions;
use crate::znode::{Owned, Znode};

#[derive(Debug)]
pub(crate) struct ZookeeperLease {
    /// The others of the same registry: one of them may be asked after ours.
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    path: Arc<str>,
    key: InstanceKey,
    token: Token,
    held: watch::Receiver<()>,
    _guard: Task,
}

/// Has the znode removed when dropped before [`Abandon::keep`]: a request that nobody waits for
/// any more is carried out all the same.
struct Abandon<'a> {
    core: &'a Core,
    path: Option<Arc<str>>,
}

impl<'a> Abandon<'a> {
    fn new(core: &'a Core, path: &Arc<str>) -> Self {
        let path = Some(Arc::clone(path));
        Self { core, path }
    }

    fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.core.abandon(path);
        }
    }
}

impl ZookeeperLease {
    /// Makes the record ours, with this content.
    ///
    /// # Cancel safety
    /// What a dropped future leaves is removed in the background.
    pub(crate) async fn register(
        (sessions, session): (Arc<Sessions>, Arc<Session>),
        path: Arc<str>,
        key: InstanceKey,
        data: &[u8],
    ) -> Result<Self, Told> {
        let (token, held) = {
            let unless_claimed = Abandon::new(&session, &path);
            let _turn = session.turn(&path).await;
            match sane(Znode::new(&session, &path).own(data)).await {
                Err(told) if error::is_refusal(&told) => {
                    unless_claimed.keep();
                    return Err(told);
                }
                owned => owned?,
            }
            let claim = session.claim(&path);
            unless_claimed.keep();
            claim
        };
        let watch = guard::watch_over(session.core(), Arc::clone(&path), token);
        Ok(Self {
            sessions,
            session,
            path,
            key,
            token,
            held,
            _guard: Task::spawn(watch),
        })
    }

    fn named(&self, operation: &'static str, error: Error) -> Error {
        error
            .with_operation(operation, &self.key)
            .with_driver(DRIVER.name)
    }

    fn failed(&self, operation: &'static str, told: &Told) -> Error {
        let error = match error::ends_session(told) {
            true => error::session_lost(),
            false => error::translate(told),
        };
        self.named(operation, error)
    }

    fn gone(&self, operation: &'static str) -> Error {
        let error = match self.session.is_over() {
            true => error::session_lost(),
            false => error::record_lost(),
        };
        self.named(operation, error)
    }

    /// Looks at the znode, and once more if the connection was lost on the way.
    async fn look(&self) -> Result<Option<Stat>, Told> {
        let found = self.session.connected().await?.check_stat(&self.path).await;
        match found {
            Err(told) if error::loses_connection(&told) => {
                self.session.connected().await?.check_stat(&self.path).await
            }
            found => found,
        }
    }

    fn is_held(&self) -> bool {
        self.session.claims().holds(&self.path, self.token)
    }

    /// The znode was seen to be ours: the claim goes on, unless it has ended meanwhile.
    fn prolong(&self, operation: &'static str) -> Result<()> {
        let mut claims = self.session.claims();
        match claims.renew(&self.path, self.token, Instant::now()) {
            true => Ok(()),
            false => {
                drop(claims);
                Err(self.gone(operation))
            }
        }
    }

    /// The znode was seen to be gone or somebody else's.
    fn lose(&self, operation: &'static str) -> Error {
        self.session.release(&self.path, self.token);
        self.gone(operation)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lease for ZookeeperLease {
    fn ttl(&self) -> Duration {
        self.session.ttl()
    }

    async fn renew(&mut self) -> Result<()> {
        if self.session.is_cut_off() {
            let doubted = self.sessions.doubt(&self.session).await;
            doubted.map_err(|error| self.named("renew", error))?;
        }
        if !self.is_held() {
            return Err(self.gone("renew"));
        }
        match self.look().await {
            Ok(Some(stat)) if self.session.is_ours(stat.ephemeral_owner) => self.prolong("renew"),
            Ok(_) => Err(self.lose("renew")),
            Err(told) => Err(self.failed("renew", &told)),
        }
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        if instance.key() != self.key {
            let other = error::other_key(&instance.key());
            return Err(self.named("update", other));
        }
        let data = codec::checked(instance).map_err(|error| self.named("update", error))?;
        let _turn = self.session.turn(&self.path).await;
        if !self.is_held() {
            return Err(self.gone("update"));
        }
        let znode = Znode::new(&self.session, &self.path);
        match sane(znode.update_ours(&data)).await {
            Ok(Owned::Done) => self.prolong("update"),
            Ok(Owned::Lost) => Err(self.lose("update")),
            Err(told) if error::ends_session(&told) => Err(self.failed("update", &told)),
            Err(told) => Err(self.named("update", error::translate_write(&told, data.len()))),
        }
    }

    async fn lost(&self) -> Error {
        let mut held = self.held.clone();
        // Nothing is ever sent: the channel closes with the claim.
        while held.changed().await.is_ok() {}
        self.gone("hold")
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        if !self.session.release(&self.path, self.token) {
            return Ok(());
        }
        let unless_removed = Abandon::new(&self.session, &self.path);
        let _turn = self.session.turn(&self.path).await;
        if self.session.claims().is_claimed(&self.path) {
            // Registered anew meanwhile, by this process.
            unless_removed.keep();
            return Ok(());
        }
        match sane(Znode::new(&self.session, &self.path).remove_ours()).await {
            Ok(_) => {}
            Err(told) if error::ends_session(&told) => {}
            Err(told) => return Err(self.failed("revoke", &told)),
        }
        unless_removed.keep();
        Ok(())
    }
}
