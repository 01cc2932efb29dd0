//! A domain: one service of it, or all that it lists.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use hickory_resolver::proto::rr::{Name, RecordType};
use waypost_core::{Instance, Result, ServiceName, SkipLog};
use waypost_plugin_kit::Known;

use crate::ask::Ask;
use crate::config::{PROFILE, Wanted};
use crate::error;
use crate::names::{Domain, plain};
use crate::reading::Reading;
use crate::service::{Service, pointer};

/// How many questions of one reading are under way at once, about.
const AT_ONCE: usize = 16;
/// How often a domain that changes while it is read is read again.
const REREADS: usize = 3;

/// A domain, and who answers for it.
pub(crate) struct Zone {
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) domain: Domain,
    pub(crate) wanted: Wanted,
    pub(crate) skipped: SkipLog,
}

/// What there is, in the order of keys, and for how many seconds that may be believed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) ttl: Option<u32>,
}

impl Zone {
    /// The instances of one service; none when DNS has no room for its name.
    pub(crate) async fn one(&self, name: &ServiceName) -> Result<Told> {
        let Some(place) = self.domain.place(name) else {
            return Ok(Told::default());
        };
        let reading = Reading::new(&*self.ask);
        let service = Service::new(self, &reading, name, place);
        let found = match service.told_at_once().await? {
            Some(found) => found,
            None => self.steady(&reading, || service.listed()).await?,
        };
        Ok(told(found, &reading))
    }

    /// The instances of every service that the domain lists.
    ///
    /// # Errors
    /// `Unsupported` when the domain has no such list.
    pub(crate) async fn all(&self) -> Result<Told> {
        let reading = Reading::new(&*self.ask);
        if self.domain.name().is_root() {
            return Err(error::no_list(self.domain.name()));
        }
        let found = self.steady(&reading, || self.every(&reading)).await?;
        Ok(told(found, &reading))
    }

    async fn every(&self, reading: &Reading<'_>) -> Result<Vec<Instance>> {
        let domain = self.domain.name();
        let browse = self.domain.browse().ok_or_else(|| error::no_list(domain))?;
        let list = reading.find(&browse, RecordType::PTR).await?;
        if !list.exists {
            return Err(error::no_list(domain));
        }
        let kinds = list.data.iter().filter_map(pointer);
        let names: BTreeSet<ServiceName> = kinds.filter_map(|kind| self.listed_at(kind)).collect();
        let places = names
            .iter()
            .filter_map(|name| Some((name, self.domain.place(name)?)));
        let services: Vec<_> = places
            .map(|(name, place)| Service::new(self, reading, name, place))
            .collect();
        gathered(services.iter().map(Service::nodes).collect()).await
    }

    fn listed_at(&self, kind: &Name) -> Option<ServiceName> {
        self.domain.service(kind).unwrap_or_else(|rule| {
            self.skip(kind, &rule);
            None
        })
    }

    /// Reads what stands in several records, until the zone's serial is the same after as before:
    /// what changed in one step is then seen in one. A zone that changes all the time (some count
    /// seconds) is taken as it comes.
    async fn steady<F>(&self, reading: &Reading<'_>, read: impl Fn() -> F) -> Result<Vec<Instance>>
    where
        F: Future<Output = Result<Vec<Instance>>>,
    {
        let mut before = reading.serial(self.domain.name()).await?;
        let mut left = REREADS;
        loop {
            let found = read().await?;
            let after = reading.serial(self.domain.name()).await?;
            if after == before || left == 0 {
                return Ok(found);
            }
            reading.forget();
            before = after;
            left -= 1;
        }
    }

    pub(crate) fn skip(&self, name: &Name, rule: &dyn std::fmt::Display) {
        let skipped = &self.skipped;
        skipped.skip(PROFILE.driver, plain(name), rule.to_string());
    }
}

fn told(found: Vec<Instance>, reading: &Reading<'_>) -> Told {
    Told {
        instances: Known::from_iter(found).instances(),
        ttl: reading.ttl(),
    }
}

/// Runs reads a few at a time. The first error is everybody's: half of the nodes would look like
/// the end of the others.
pub(crate) async fn gathered<F>(reads: Vec<F>) -> Result<Vec<Instance>>
where
    F: Future<Output = Result<Vec<Instance>>>,
{
    let mut all = Vec::new();
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    while let Some(found) = reads.next().await {
        all.extend(found?);
    }
    Ok(all)
}
