//! Many records that go at once, and a record without its check.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use waypost::{Drivers, Origin, Target};
use waypost_core::{
    Address, BoxWatcher, Change, Event, Instance, Lease, Node, NodeId, RegisterOptions, Registry,
    ServiceName, WatchScope,
};

use crate::backend::{Backend as _, Consul};
use crate::bounds::{B as CAP, EPSILON, T, bound};
use crate::house::{House, Shape, key};
use crate::{Result, ensure};

use super::super::{Fault, patience, seconds};
use super::{machine, record};

/// How many go at once.
const BATCH: usize = 100;
/// Registrations that are under way at once.
const AT_ONCE: usize = 8;
/// Longest time that one of them, or one end, may take: the agent takes one after the other.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn faults() -> Vec<Fault<Consul>> {
    let shape = Shape::PLAIN;
    vec![
        Fault {
            name: "F15_one_write_takes_a_hundred_records",
            law: "every deletion of a batch arrives",
            bound: bound!(EPSILON),
            shape,
            run: |house| Box::pin(one_write(house)),
        },
        Fault {
            name: "F15_a_hundred_services_are_released_at_once",
            law: "of a hundred services that end at once the end of each is told",
            bound: bound!(EPSILON),
            shape,
            run: |house| Box::pin(released(house)),
        },
        Fault {
            name: "F13_check_removed_by_hand",
            law: "a record whose check was removed, so that it would never expire, is given one again",
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(unchecked(house)),
        },
    ]
}

async fn one_write(house: &mut House<Consul>) -> Result<f64> {
    let machine = machine("planted");
    let records: Vec<Value> = (0..BATCH)
        .map(|place| record(&format!("planted-{place:03}"), place))
        .collect();
    house.backend.plant(&machine, &records).await?;
    let all = BATCH + 6;
    house
        .all_see("a hundred more", patience(EPSILON), |set| set.len() == all)
        .await?;
    house.backend.uproot(&machine).await?;
    let took = house
        .all_see("six", patience(EPSILON), |set| set.len() == 6)
        .await?;
    for watched in &house.watched {
        let removed = watched.removed();
        ensure(removed == BATCH, || {
            format!("a watch told of {removed} removals")
        })?;
    }
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn released(house: &mut House<Consul>) -> Result<f64> {
    let url = house.backend.url(house.backend.address(), "");
    let drivers = Drivers::builtin().with_operation_limit(LIMIT);
    let target = Target::parse(&url, None, Origin::Code)?;
    let client = drivers.connect(&target).await?;
    let prefix = format!("batch-{:08x}-", fastrand::u32(..));
    let leases = register(&*client, &prefix).await?;
    let mut followed = Followed::open(&*client, &prefix).await?;
    followed.until(patience(EPSILON), BATCH).await?;
    let revoking = async {
        let outcomes = join_all(leases.into_iter().map(Lease::revoke)).await;
        (outcomes, Instant::now())
    };
    let following = async {
        followed.until(LIMIT, 0).await?;
        Ok::<_, crate::Failure>(Instant::now())
    };
    let ((outcomes, released), told) = tokio::join!(revoking, following);
    for outcome in outcomes {
        outcome?;
    }
    house.bystanders_stay(0)?;
    seconds(told?.saturating_duration_since(released))
}

/// Registers one node of each of a hundred services.
async fn register(client: &dyn Registry, prefix: &str) -> Result<Vec<Box<dyn Lease>>> {
    let options = RegisterOptions::new(12 * T);
    stream::iter(0..BATCH)
        .map(|place| async move {
            let name = ServiceName::new(&format!("{prefix}{place:03}"))?;
            let id = NodeId::new(&format!("{name}-1"))?;
            let address = Address::new(&format!("127.0.0.1:{}", 24_000 + place))?;
            let instance = Instance::new(name, Node::new(id, address));
            Ok::<_, crate::Failure>(client.register(&instance, options).await?)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The services of a batch, as a watch of all tells of them.
struct Followed<'a> {
    prefix: &'a str,
    watcher: BoxWatcher,
    there: BTreeSet<ServiceName>,
}

impl<'a> Followed<'a> {
    async fn open(client: &dyn Registry, prefix: &'a str) -> Result<Self> {
        Ok(Self {
            prefix,
            watcher: client.watch(WatchScope::All).await?,
            there: BTreeSet::new(),
        })
    }

    /// Follows until so many are there.
    async fn until(&mut self, limit: Duration, count: usize) -> Result<()> {
        let following = async {
            while self.there.len() != count {
                let event = self.watcher.next().await.ok_or("the watch ended")??;
                self.take(event);
            }
            Ok::<_, crate::Failure>(())
        };
        let followed = timeout(limit, following).await;
        followed.unwrap_or_else(|_| {
            let there = self.there.len();
            Err(format!("{there} are there after {limit:?}, not {count}").into())
        })
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Snapshot(all) => all.iter().for_each(|one| self.add(&one.service)),
            Event::Changed(changes) => changes.iter().for_each(|change| match change {
                Change::Upsert(one) => self.add(&one.service),
                Change::Remove(key) => {
                    self.there.remove(&key.service);
                }
            }),
            Event::Confirmed => {}
        }
    }

    fn add(&mut self, service: &ServiceName) {
        if service.as_str().starts_with(self.prefix) {
            self.there.insert(service.clone());
        }
    }
}

async fn unchecked(house: &mut House<Consul>) -> Result<f64> {
    let [node, _] = house.nodes(0);
    let key = key(node)?;
    house.backend.uncheck(&key).await?;
    let begun = Instant::now();
    house
        .history
        .note("by hand", format!("removed the check of {node}"));
    while !house.backend.is_checked(&key).await? {
        let limit = patience(CAP + EPSILON);
        ensure(begun.elapsed() < limit, || {
            format!("no check again within {limit:?}")
        })?;
        sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    house.bystanders_stay(0)?;
    seconds(took)
}
