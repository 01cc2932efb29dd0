//! A registry in a shared map, sound unless told to break one law.

mod lease;
mod map;
mod registry;
mod watcher;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use waypost_conformance::{Cut, Planted, Subject};
use waypost_core::{Instance, Profile, Registry, Result};

use map::Map;
use registry::MapRegistry;

pub(crate) const PROFILE: Profile = Profile {
    driver: "map",
    least_ttl: Duration::from_millis(500),
    slack: Duration::ZERO,
    writable: true,
    owned: false,
    tells_loss: true,
    native_watch: true,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// How a registry breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    LosesTheSecondEventOfABatch,
    IgnoresTheTtl,
    EmptiesOnError,
    SwallowsMissedDeletes,
    RenewsAfterRevoke,
    SkipsChangedMetadata,
    LateRevokeDeletesTheSuccessor,
    DroppedRegisterLeavesAGhost,
    LateRenewalTakesTheRecordBack,
    BeginsWithChanges,
    TellsOfOtherServices,
    TellsRenewals,
    SplitsBatches,
    QueuesWithoutBound,
    GoesOnAfterAnError,
    StaysSilent,
    BelievesTheRecordNotItsKey,
    StopsAtABadRecord,
    LeaksATaskAWatch,
    RemovesBeforeItWrites,
    GrantsTooLittle,
    TakesAnyTtl,
    MixesNamespaces,
    FailsOnUnknownServices,
    NeverTellsALoss,
    LosesWhatFollowsTheSnapshot,
}

/// A backend of maps, one a namespace.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: Mutex<HashMap<String, Arc<Map>>>,
    flaw: Option<Flaw>,
}

impl Maps {
    pub(crate) fn broken(flaw: Flaw) -> Self {
        Self {
            maps: Mutex::default(),
            flaw: Some(flaw),
        }
    }

    fn map(&self, namespace: &str) -> Arc<Map> {
        let namespace = match self.flaw {
            Some(Flaw::MixesNamespaces) => "all",
            _ => namespace,
        };
        let mut maps = self.maps.lock().expect("no panic under the lock");
        Arc::clone(maps.entry(namespace.to_owned()).or_default())
    }
}

#[async_trait]
impl Subject for Maps {
    fn profile(&self) -> Profile {
        PROFILE
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        Ok(Arc::new(MapRegistry::new(self.map(namespace), self.flaw)))
    }

    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        self.map(namespace).plant(service, node, bytes);
        Ok(Planted::Done)
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        self.map(namespace).fill(instances);
        Ok(Planted::Done)
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        self.map(namespace).set_cut(Some(cut));
        Ok(Planted::Done)
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        self.map(namespace).set_cut(None);
        Ok(())
    }
}
