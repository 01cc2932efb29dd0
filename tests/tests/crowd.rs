//! Ten thousand nodes, and five hundred that come at once.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use waypost::Drivers;
use waypost_core::{
    Address, Change, Directory, DirectoryOptions, Event, Instance, Lease, Node, NodeId, Origin,
    RegisterOptions, Registration, RegistrationOptions, Registry, ServiceName, Target,
};
use waypost_testkit::containers::{CONSUL, Server, ZOOKEEPER, etcd_address};
use waypost_testkit::{Missing, keep, laws};
use waypost_tests::backend::{plant, uproot};
use waypost_tests::scripted::Scripted;
use waypost_tests::{Result, ensure};

/// Nodes that are there before.
const CROWD: usize = 10_000;
/// On Consul, where each costs every reader two kilobytes.
const CONSULS_CROWD: usize = 1_000;
/// Nodes that register at once.
const BURST: usize = 500;
/// So many of the crowd register at once.
const AT_ONCE: usize = 16;
/// Changes whose cost is measured.
const CHANGES: usize = 2_000;
/// Longest wait for anything here; on an idle machine a few seconds are enough.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest time that one operation may take.
const OPERATION_LIMIT: Duration = Duration::from_secs(20);

laws! {
    a_burst_among_ten_thousand_converges_in_memory,
    a_burst_among_ten_thousand_converges_on_etcd,
    a_burst_among_ten_thousand_converges_on_zookeeper,
    a_burst_among_a_thousand_converges_on_consul,
    a_change_among_ten_thousand_reaches_readers_one_by_one,
}

fn main() -> ExitCode {
    keep(&[LAWS])
}

fn instance(place: usize, version: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("n{place:05}"))?;
    let address = Address::new(&format!("10.0.{}.{}:8080", place / 250, place % 250 + 1))?;
    let instance = Instance::new(ServiceName::new("crowd")?, Node::new(id, address));
    Ok(instance.with_version(version.to_string()))
}

async fn a_burst_among_ten_thousand_converges_in_memory() -> Result<()> {
    among(CROWD, connect("memory://").await?).await
}

async fn a_burst_among_ten_thousand_converges_on_etcd() -> Result<()> {
    let (address, namespace) = (
        etcd_address().await?,
        format!("/t/{:08x}", fastrand::u32(..)),
    );
    let lease = plant(&address, &namespace, &crowd(CROWD)?).await?;
    let registry = connect(&format!("etcd://{address}{namespace}")).await?;
    let converged = burst(registry, CROWD).await;
    uproot(&address, lease).await?;
    converged
}

async fn a_burst_among_ten_thousand_converges_on_zookeeper() -> Result<()> {
    asked_for()?;
    let server = Server::start(&ZOOKEEPER).await?;
    let registry = connect(&format!("zookeeper://{}", server.address())).await?;
    among(CROWD, registry).await
}

async fn a_burst_among_a_thousand_converges_on_consul() -> Result<()> {
    asked_for()?;
    let server = Server::start(&CONSUL).await?;
    elsewhere(&server.address(), &crowd(CONSULS_CROWD)?).await?;
    let registry = connect(&format!("consul://{}", server.address())).await?;
    burst(registry, CONSULS_CROWD).await
}

/// A registry whose operations may take as long as ten thousand records do on a busy machine.
async fn connect(url: &str) -> Result<Arc<dyn Registry>> {
    let target = Target::parse(url, None, Origin::Code)?;
    let drivers = Drivers::builtin().with_operation_limit(OPERATION_LIMIT);
    Ok(drivers.connect(&target).await?)
}

/// Ends the test unless the long ones are asked for.
fn asked_for() -> Result<(), Missing> {
    let asked = |variable| std::env::var_os(variable).is_some();
    if asked("WAYPOST_FAULTS") || asked("WAYPOST_FULL") {
        return Ok(());
    }
    let how = "half a minute; `cargo xtask test --faults --only tests/crowd` or `--full` runs it";
    Err(Missing::not_asked_for(how))
}

fn crowd(size: usize) -> Result<Vec<Instance>> {
    (0..size).map(|place| instance(place, 1)).collect()
}

/// Makes a crowd the records of another machine: an agent of a thousand would be no usual one.
async fn elsewhere(address: &str, crowd: &[Instance]) -> Result<()> {
    const MACHINE: &str = "elsewhere";
    let node = json!({"Verb": "set", "Node": {"Node": MACHINE, "Address": "10.254.0.1"}});
    let set = |one: &Instance| {
        let (host, port) = (one.node.address.host(), one.node.address.port());
        let service = json!({
            "ID": one.node.id, "Service": one.service, "Address": host, "Port": port,
        });
        json!({"Service": {"Verb": "set", "Node": MACHINE, "Service": service}})
    };
    let client = reqwest::Client::builder().no_proxy().build()?;
    // A transaction takes 64 operations.
    for some in crowd.chunks(63) {
        let node = std::iter::once(json!({ "Node": node }));
        let operations: Vec<_> = node.chain(some.iter().map(set)).collect();
        let put = client.put(format!("http://{address}/v1/txn"));
        let answer = put.json(&operations).send().await?;
        answer.error_for_status()?;
    }
    Ok(())
}

/// Registers a crowd, then the burst.
async fn among(size: usize, registry: Arc<dyn Registry>) -> Result<()> {
    let options = RegisterOptions::new(Duration::from_secs(600));
    let crowd = crowd(size)?;
    let registering = crowd
        .iter()
        .map(|instance| registry.register(instance, options));
    let leases: Vec<Box<dyn Lease>> = stream::iter(registering)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let converged = burst(registry, size).await;
    drop(leases);
    converged
}

/// Registers the burst beside the crowd that is there.
async fn burst(registry: Arc<dyn Registry>, crowd: usize) -> Result<()> {
    let options = DirectoryOptions::new().with_connect_timeout(LIMIT);
    let directory = Directory::new(Arc::clone(&registry), options);
    let mut followed = directory.follow(ServiceName::new("crowd")?).await?;
    let known = followed.members().len();
    ensure(known == crowd, || format!("{known} nodes are known before"))?;

    let begun = Instant::now();
    let mut registrations = Vec::with_capacity(BURST);
    for place in crowd..crowd + BURST {
        let options = RegistrationOptions::new().with_ttl(Duration::from_secs(30));
        let registry = Arc::clone(&registry);
        registrations.push(Registration::start(registry, instance(place, 1)?, options)?);
    }
    let arrived = async { while followed.changed().await.len() < crowd + BURST {} };
    let in_time = timeout(LIMIT, arrived).await.is_ok();
    let known = followed.members().len();
    ensure(in_time, || {
        format!("{known} nodes are known after {LIMIT:?}")
    })?;
    let drift = followed.verify().await?;
    ensure(drift.is_empty(), || format!("{} differences", drift.len()))?;
    print(&format!(
        "{BURST} registrations at {crowd} nodes on {}: known after {:?}",
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

async fn a_change_among_ten_thousand_reaches_readers_one_by_one() -> Result<()> {
    tokio::task::spawn_blocking(changes).await?
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
