//! The registry itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{PutOptions, Txn, TxnOp};
use waypost_core::{
    BoxWatcher, Error, ErrorKind, Instance, InstanceKey, Lease, Profile, RegisterOptions, Registry,
    Result, ServiceName, SkipLog, WatchScope,
};
use waypost_plugin_kit::codec;

use crate::claim::Claim;
use crate::config::{Config, DRIVER};
use crate::endpoints::Endpoints;
use crate::guard::Guard;
use crate::keepalive::KeepAlive;
use crate::layout::{Layout, Layouts, Range};
use crate::lease::EtcdLease;
use crate::range::{self, At};
use crate::view::View;
use crate::watcher;

/// etcd as a registry.
#[derive(Debug)]
pub(crate) struct EtcdRegistry {
    shared: Arc<Shared>,
    layouts: Arc<Layouts>,
    skipped: SkipLog,
}

/// What leases need of their registry. The tasks that read streams end with the last holder.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) keepalive: KeepAlive,
    pub(crate) guard: Guard,
}

impl EtcdRegistry {
    /// Makes what is needed; nothing is connected.
    pub(crate) async fn open(config: Config) -> Result<Self> {
        let endpoints = Arc::new(Endpoints::new(&config).await?);
        Ok(Self {
            shared: Arc::new(Shared {
                keepalive: KeepAlive::new(Arc::clone(&endpoints), config.streams),
                guard: Guard::new(Arc::clone(&endpoints)),
                endpoints,
            }),
            layouts: Arc::new(config.layouts),
            skipped: SkipLog::new(),
        })
    }

    async fn write(&self, instance: &Instance, ttl: Duration) -> Result<EtcdLease> {
        let content = codec::checked(instance)?;
        let seconds = whole_seconds(ttl)?;
        let endpoints = &self.shared.endpoints;
        let granted = endpoints
            .call(|endpoint| async move { endpoint.lease().grant(seconds, None).await })
            .await?;
        let id = instance.key();
        let (key, service) = self.layouts.written(&id);
        let claim = Claim::new(key.clone(), granted.id());
        let now = granted
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let held = self.shared.guard.hold(service, claim, now);
        let call = endpoints.call(|endpoint| {
            let (key, content) = (key.clone(), content.clone());
            let options = PutOptions::new().with_lease(granted.id());
            async move { endpoint.kv().put(key, content, Some(options)).await }
        });
        let written = call.await?;
        let revision = written
            .header()
            .map_or(now + 1, etcd_client::ResponseHeader::revision);
        self.shared.guard.written(&held, revision);
        Ok(EtcdLease {
            shared: Arc::clone(&self.shared),
            held,
            id,
            ttl: u64::try_from(granted.ttl()).map_or(ttl, Duration::from_secs),
            content: Some(content),
        })
    }

    async fn delete(&self, id: &InstanceKey) -> Result<()> {
        let endpoints = &self.shared.endpoints;
        let call = |keys: Vec<String>| {
            let delete = keys.into_iter().map(|key| TxnOp::delete(key, None));
            let txn = Txn::new().and_then(delete.collect::<Vec<_>>());
            endpoints.call(move |endpoint| {
                let txn = txn.clone();
                async move { endpoint.kv().txn(txn).await }
            })
        };
        match call(self.layouts.keys(id)).await {
            Err(error) if error.kind() == ErrorKind::Denied && self.layouts.reads_legacy() => {
                let (current, _) = self.layouts.written(id);
                call(vec![current]).await.map(drop)
            }
            result => result.map(drop),
        }
    }

    /// Everything within `scope`, where it may stand, and where the read was made.
    async fn read(&self, scope: &WatchScope) -> Result<(View, Vec<Range>, At)> {
        let once = async || -> Result<(View, Vec<Range>, At)> {
            let ranges = self.layouts.ranges(scope);
            let (layouts, skipped) = (Arc::clone(&self.layouts), self.skipped.clone());
            let mut view = View::new(scope.clone(), layouts, skipped);
            let at = range::read(&self.shared.endpoints, &ranges, false, &mut view).await?;
            Ok((view, ranges, at))
        };
        match once().await {
            Err(error) if error.kind() == ErrorKind::Denied && self.layouts.reads_legacy() => {
                // Permission may cover one prefix only; without the others this may work.
                let current = vec![self.layouts.current(scope)];
                let mut view = View::new(
                    scope.clone(),
                    Arc::clone(&self.layouts),
                    self.skipped.clone(),
                );
                let at = range::read(&self.shared.endpoints, &current, false, &mut view).await?;
                if self.layouts.refuse_legacy() {
                    tracing::warn!(
                        driver = DRIVER.name,
                        error = %error,
                        "reads the current layout only; `legacy=false` says so without this warning"
                    );
                }
                Ok((view, current, at))
            }
            result => result,
        }
    }

    fn named(operation: &'static str, subject: impl std::fmt::Display, error: Error) -> Error {
        error
            .with_operation(operation, subject)
            .with_driver(DRIVER.name)
    }
}

/// A ttl as etcd counts, rounded up.
fn whole_seconds(ttl: Duration) -> Result<i64> {
    let least = DRIVER.profile.least_ttl;
    if ttl < least {
        return Err(Error::config(format!(
            "ttl {ttl:?} is below {least:?}, the least that etcd grants"
        )));
    }
    let seconds = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0));
    i64::try_from(seconds).map_err(|_| Error::config(format!("ttl {ttl:?} is too long")))
}

#[async_trait]
impl Registry for EtcdRegistry {
    fn profile(&self) -> &Profile {
        &DRIVER.profile
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        match self.write(instance, options.ttl).await {
            Ok(lease) => Ok(Box::new(lease)),
            Err(error) => Err(Self::named("register", instance.key(), error)),
        }
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        let result = self.delete(key).await;
        result.map_err(|error| Self::named("deregister", key, error))
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        match self.read(&WatchScope::Service(service.clone())).await {
            Ok((view, _, _)) => Ok(view.into_instances()),
            Err(error) => Err(Self::named("lookup", service, error)),
        }
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        match self.read(&WatchScope::All).await {
            Ok((view, _, _)) => Ok(view.services()),
            Err(error) => Err(Self::named("services", "", error)),
        }
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        let open = async || {
            let (view, mut ranges, at) = self.read(&scope).await?;
            // An older layout is watched only where something stands in it: a watch a layout would
            // be paid by everybody for what hardly anybody has.
            ranges.retain(|range| range.layout == Layout::Current || view.holds(range.layout));
            watcher::follow(&self.shared.endpoints, ranges, at, view).await
        };
        open()
            .await
            .map_err(|error| Self::named("watch", &scope, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_to_whole_seconds_and_not_below_two() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!(seconds(2000).expect("ttl"), 2);
        assert_eq!(seconds(2001).expect("ttl"), 3);
        for low in [0, 1, 1999] {
            assert_eq!(seconds(low).expect_err("low").kind(), ErrorKind::Config);
        }
        assert!(whole_seconds(Duration::MAX).is_err());
    }
}
