//! A directory over a switch, as a caller has it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, Followed, Freshness, Instance, Lease};

use crate::check::{Check, PACE, ensure, exactly, listed};
use crate::context::{Context, Stock, service};
use crate::faults::{Faulty, Switch};

/// Longest time between two tries of the keeper and of the directory.
pub(crate) const BACKOFF: Duration = Duration::from_secs(5);
/// How long the directory waits for a new watch's first event.
pub(crate) const OPENING: Duration = Duration::from_secs(10);

/// A directory over a switch, following records that are kept.
pub(crate) struct Reader {
    pub(crate) stock: Stock,
    pub(crate) switch: Switch,
    pub(crate) directory: Directory,
    pub(crate) followed: Followed,
}

impl Reader {
    pub(crate) async fn knows(
        &self,
        bound: Duration,
        fault: impl Fn(&[Instance]) -> Option<String>,
    ) -> Check {
        let start = Instant::now();
        while let Some(text) = fault(&live(&self.followed)) {
            ensure!(
                start.elapsed() <= bound,
                "{text}; the directory still has {} after {bound:?}, {:?}, {:?}",
                listed(&live(&self.followed)),
                self.followed.freshness(),
                self.followed.error()
            );
            sleep(PACE).await;
        }
        Ok(())
    }

    pub(crate) async fn fresh(&self, bound: Duration, wanted: impl Fn(Freshness) -> bool) -> Check {
        let start = Instant::now();
        while !wanted(self.followed.freshness()) {
            ensure!(
                start.elapsed() <= bound,
                "after {bound:?} the directory is {:?}, with {:?}",
                self.followed.freshness(),
                self.followed.error()
            );
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Takes a lease out of those that are kept.
    pub(crate) async fn take(&mut self, number: usize) -> Check<Box<dyn Lease>> {
        self.stock.kept.remove(number).stop().await
    }
}

pub(crate) fn options() -> DirectoryOptions {
    DirectoryOptions::new().with_connect_timeout(OPENING)
}

pub(crate) async fn reader(
    cx: &Context,
    records: &[Instance],
    options: DirectoryOptions,
) -> Check<Reader> {
    let stock = cx.stock(records).await?;
    let (registry, switch) = Faulty::over(cx.open().await?);
    let directory = Directory::new(registry, options);
    let followed = directory.follow(service("orders")?).await?;
    let reader = Reader {
        stock,
        switch,
        directory,
        followed,
    };
    reader.knows(cx.told_within(), exactly(records)).await?;
    Ok(reader)
}

pub(crate) fn live(followed: &Followed) -> Vec<Instance> {
    followed
        .members()
        .live()
        .map(|instance| (**instance).clone())
        .collect()
}

pub(crate) fn is_stale(freshness: Freshness) -> bool {
    matches!(freshness, Freshness::Stale { .. })
}

pub(crate) fn is_fresh(freshness: Freshness) -> bool {
    freshness == Freshness::Live
}
