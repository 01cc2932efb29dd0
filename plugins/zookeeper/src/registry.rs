//! The registry: records below one prefix.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use waypost_core::{
    BoxWatcher, Error, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry, Result,
    ServiceName, SkipLog, WatchScope,
};
use waypost_plugin_kit::codec;

use crate::config::{Config, DRIVER};
use crate::error;
use crate::lease::ZookeeperLease;
use crate::read::Reader;
use crate::sane::sane;
use crate::sessions::Sessions;
use crate::watcher;
use crate::znode::Znode;

/// Records as ephemeral znodes, through few sessions.
#[derive(Debug)]
pub(crate) struct ZookeeperRegistry {
    config: Arc<Config>,
    sessions: Arc<Sessions>,
    skipped: SkipLog,
}

impl ZookeeperRegistry {
    pub(crate) fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            sessions: Arc::new(Sessions::new(Arc::clone(&config))),
            config,
            skipped: SkipLog::new(),
        }
    }

    async fn list(&self, scope: &WatchScope) -> Result<Vec<Arc<Instance>>> {
        self.sessions
            .read(async |session| {
                let reader = Reader {
                    session: &session,
                    skipped: &self.skipped,
                    alarms: None,
                };
                reader.scope(scope).await
            })
            .await
    }

    async fn write(&self, instance: &Instance, options: RegisterOptions) -> Result<ZookeeperLease> {
        let data = codec::checked(instance)?;
        if options.ttl < DRIVER.profile.least_ttl {
            return Err(error::short_ttl(options.ttl));
        }
        let key = instance.key();
        let path: Arc<str> = self.config.prefix.key(&key).into();
        loop {
            let session = self.sessions.for_ttl(options.ttl).await?;
            let (path, key) = (Arc::clone(&path), key.clone());
            let of = (Arc::clone(&self.sessions), Arc::clone(&session));
            match ZookeeperLease::register(of, path, key, &data).await {
                // A session that was over when it was asked for is replaced by a new one.
                Err(told) if error::ends_session(&told) && session.is_over() => {}
                result => {
                    let fault = |told| self.config.translate_write(&told, data.len());
                    return result.map_err(fault);
                }
            }
        }
    }
}

fn named<'a>(
    operation: &'static str,
    subject: impl std::fmt::Display + 'a,
) -> impl FnOnce(Error) -> Error + 'a {
    move |error| {
        error
            .with_operation(operation, subject)
            .with_driver(DRIVER.name)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for ZookeeperRegistry {
    fn profile(&self) -> &Profile {
        &self.config.profile
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        let written = self.write(instance, options).await;
        match written {
            Ok(lease) => Ok(Box::new(lease)),
            Err(error) => Err(named("register", instance.key())(error)),
        }
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        let path = self.config.prefix.key(key);
        self.sessions
            .read(async |session| {
                let _turn = session.turn(&path).await;
                sane(Znode::new(&session, &path).remove_anyones()).await
            })
            .await
            .map_err(named("deregister", key))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        let scope = WatchScope::Service(service.clone());
        let found = self.list(&scope).await.map_err(named("lookup", service))?;
        let mut all: Vec<Instance> = found.into_iter().map(Arc::unwrap_or_clone).collect();
        all.sort_by(|one, other| one.node.id.cmp(&other.node.id));
        Ok(all)
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        let found = self.list(&WatchScope::All).await;
        let found = found.map_err(named("services", ""))?;
        let names: BTreeSet<ServiceName> =
            found.iter().map(|record| record.service.clone()).collect();
        Ok(names.into_iter().collect())
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.sessions
            .read(|session| watcher::follow(session, scope.clone(), self.skipped.clone()))
            .await
            .map_err(named("watch", &scope))
    }
}
