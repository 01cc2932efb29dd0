//! Ten thousand nodes, and five hundred that come at once.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use waypost_core::{
    Address, Change, Directory, DirectoryOptions, Event, Instance, Node, NodeId, RegisterOptions,
    Registration, RegistrationOptions, Registry, ServiceName,
};
use waypost_tests::backend::{plant, uproot};
use waypost_tests::house::connect;
use waypost_tests::scripted::Scripted;
use waypost_tests::trial::{self, Needs};
use waypost_tests::{Result, ensure};

/// Nodes that are there before.
const CROWD: usize = 10_000;
/// Nodes that register at once.
const BURST: usize = 500;
/// Changes whose cost is measured.
const CHANGES: usize = 2_000;
/// Longest wait for anything here; on an idle machine a few seconds are enough.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    trial::main(&[
        (
            "a_burst_among_ten_thousand_converges_in_memory",
            Needs::Nothing(|| Box::pin(in_memory())),
        ),
        (
            "a_burst_among_ten_thousand_converges_on_etcd",
            Needs::Etcd(|address| Box::pin(on_etcd(address))),
        ),
        (
            "a_change_among_ten_thousand_reaches_readers_one_by_one",
            Needs::Nothing(|| Box::pin(async { tokio::task::spawn_blocking(changes).await? })),
        ),
    ])
}

fn instance(place: usize, version: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("n{place:05}"))?;
    let address = Address::new(&format!("10.0.{}.{}:8080", place / 250, place % 250 + 1))?;
    let instance = Instance::new(ServiceName::new("crowd")?, Node::new(id, address));
    Ok(instance.with_version(version.to_string()))
}

async fn in_memory() -> Result<()> {
    let registry = connect("memory://").await?;
    let options = RegisterOptions::new(Duration::from_secs(600));
    let mut leases = Vec::with_capacity(CROWD);
    for instance in crowd()? {
        leases.push(registry.register(&instance, options).await?);
    }
    burst(registry).await
}

async fn on_etcd(address: String) -> Result<()> {
    let namespace = format!("/t/{:08x}", fastrand::u32(..));
    let lease = plant(&address, &namespace, &crowd()?).await?;
    let registry = connect(&format!("etcd://{address}{namespace}")).await?;
    let converged = burst(registry).await;
    uproot(&address, lease).await?;
    converged
}

fn crowd() -> Result<Vec<Instance>> {
    (0..CROWD).map(|place| instance(place, 1)).collect()
}

/// Registers the burst beside the crowd that is there.
async fn burst(registry: Arc<dyn Registry>) -> Result<()> {
    let directory = Directory::new(Arc::clone(&registry), DirectoryOptions::new());
    let mut followed = directory.follow(ServiceName::new("crowd")?).await?;
    let known = followed.members().len();
    ensure(known == CROWD, || format!("{known} nodes are known before"))?;

    let begun = Instant::now();
    let mut registrations = Vec::with_capacity(BURST);
    for place in CROWD..CROWD + BURST {
        let options = RegistrationOptions::new().with_ttl(Duration::from_secs(30));
        let registry = Arc::clone(&registry);
        registrations.push(Registration::start(registry, instance(place, 1)?, options)?);
    }
    let arrived = async { while followed.changed().await.len() < CROWD + BURST {} };
    let in_time = timeout(LIMIT, arrived).await.is_ok();
    let known = followed.members().len();
    ensure(in_time, || {
        format!("{known} nodes are known after {LIMIT:?}")
    })?;
    let drift = followed.verify().await?;
    ensure(drift.is_empty(), || format!("{} differences", drift.len()))?;
    print(&format!(
        "{BURST} registrations at {CROWD} nodes on {}: known after {:?}",
        registry.profile().driver,
        begun.elapsed()
    ));
    let leaving: Vec<_> = registrations
        .into_iter()
        .map(Registration::release)
        .collect();
    let mut left = stream::iter(leaving).buffer_unordered(64);
    while let Some(result) = left.next().await {
        result?;
    }
    Ok(())
}

/// On a runtime of one thread, whose processor time is the directory's.
fn changes() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (sender, events) = mpsc::channel(1);
        let registry = Arc::new(Scripted::new(events));
        let all: Result<Vec<_>> = (0..CROWD)
            .map(|place| Ok(Arc::new(instance(place, 1)?)))
            .collect();
        sender.send(Event::Snapshot(all?)).await?;
        let directory = Directory::new(registry, DirectoryOptions::new());
        let mut followed = directory.follow(ServiceName::new("crowd")?).await?;
        let mut spent = Duration::ZERO;
        for step in 0..CHANGES {
            let changed = Arc::new(instance(step * 7 % CROWD, step + 2)?);
            let change = if step % 4 == 3 {
                Change::Remove(changed.key())
            } else {
                Change::Upsert(Arc::clone(&changed))
            };
            let before = thread_time();
            sender.send(Event::Changed(vec![change])).await?;
            let members = timeout(LIMIT, followed.changed()).await?;
            spent += thread_time().saturating_sub(before);
            let expected = if step % 4 == 3 { None } else { Some(&changed) };
            let found = members.live().find(|one| one.node.id == changed.node.id);
            ensure(found == expected, || format!("change {step} is not seen"))?;
        }
        let each = spent / u32::try_from(CHANGES)?;
        print(&format!(
            "one change at {CROWD} nodes costs a directory {each:?} of a processor"
        ));
        Ok(())
    })
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "| {text} |");
}
