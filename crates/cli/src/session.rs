//! What every command needs: the flags, the table of registries, the output.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use waypost::flags::Flags;
use waypost::{
    Driver, Drivers, Event, Instance, RegistrationOptions, Registry, Target, WatchScope,
};

use crate::failure::Failure;
use crate::output::Output;

/// The registry where nobody chooses one: nothing to install, and all processes of a machine share
/// it.
const DEFAULT_REGISTRY: &str = "file";
/// How long one operation of a registry may take.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);

/// One run of the command.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) drivers: Drivers,
    pub(crate) flags: Flags,
    pub(crate) output: Output,
    timeout: Option<Duration>,
    limit: Duration,
}

impl Session {
    pub(crate) fn new(
        drivers: Drivers,
        flags: Flags,
        output: Output,
        timeout: Option<Duration>,
    ) -> Self {
        // The command's own deadline passes first, so that its exit code is the one that tells.
        let limit = timeout.unwrap_or_default().max(OPERATION_LIMIT);
        Self {
            drivers: drivers.with_operation_limit(limit),
            flags,
            output,
            timeout,
            limit,
        }
    }

    /// The chosen registry's name and place.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        Ok(self.flags.target(DEFAULT_REGISTRY)?)
    }

    /// The chosen driver.
    pub(crate) fn driver(&self) -> Result<&'static Driver, Failure> {
        Ok(self.drivers.get(self.target()?.driver())?)
    }

    /// The chosen registry.
    pub(crate) async fn registry(&self) -> Result<Arc<dyn Registry>, Failure> {
        Ok(self.drivers.connect(&self.target()?).await?)
    }

    /// Everything that is registered: the first word of a watch, one read however many services
    /// there are.
    pub(crate) async fn everything(
        &self,
        registry: &dyn Registry,
    ) -> Result<Vec<Arc<Instance>>, Failure> {
        let mut watcher = registry.watch(WatchScope::All).await?;
        let first = self.limited(watcher.next()).await?;
        match first.transpose()? {
            Some(Event::Snapshot(instances)) => Ok(instances),
            _ => Err(Failure::registry(format!(
                "{}: watch *: the registry ended without a snapshot",
                registry.profile().driver
            ))),
        }
    }

    /// Waits for `work` no longer than one operation of a registry may take.
    pub(crate) async fn limited<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let limit = self.limit;
        tokio::time::timeout(limit, work)
            .await
            .map_err(|_| Failure::registry(format!("the registry gave no answer within {limit:?}")))
    }

    /// Waits for `work` no longer than the command may take.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(timeout) = self.timeout else {
            return work.await;
        };
        tokio::time::timeout(timeout, work)
            .await
            .unwrap_or_else(|_| Err(Failure::deadline(format!("not done within {timeout:?}"))))
    }

    /// How to register, warned of where it invites trouble.
    pub(crate) fn registration(&self) -> RegistrationOptions {
        let options = self.flags.registration(RegistrationOptions::new());
        if let Some(warning) = waypost::flags::timing_warning(&options) {
            self.output.warn(&warning);
        }
        options
    }
}
