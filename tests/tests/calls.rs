//! Two hundred calls a second to three services, each a process, while their registry is away, while
//! they are restarted in turn, while one is killed: none fails. None but those to a node that is killed
//! may be tried again once it was sent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep};
use waypost::client::{CallOptions, Client};
use waypost_core::{Registry, ServiceName};
use waypost_selector::Options;
use waypost_testkit::containers::{
    CONSUL, ETCD, Recipe, Server, ZOOKEEPER, consul_address, etcd_address, zookeeper_address,
};
use waypost_testkit::{Missing, keep, laws};
use waypost_tests::agent::{Agent, Order, SERVES, Signal};
use waypost_tests::bounds::{EPSILON, T};
use waypost_tests::history::History;
use waypost_tests::house::connect;
use waypost_tests::suite::Wanted;
use waypost_tests::{Result, ensure};

/// Between two calls.
const PERIOD: Duration = Duration::from_millis(5);
/// Twice the ttl: every record is dead when the registry is back.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);
/// How long anything may take that is to happen soon.
const LIMIT: Duration = Duration::from_secs(30);

laws! {
    ten_seconds_without_etcd,
    ten_seconds_without_consul,
    ten_seconds_without_zookeeper,
    a_minute_without_etcd,
    a_minute_without_consul,
    a_minute_without_zookeeper,
    all_are_restarted_in_turn_on_etcd,
    all_are_restarted_in_turn_on_consul,
    all_are_restarted_in_turn_on_zookeeper,
    one_is_killed_on_etcd,
    one_is_killed_on_consul,
}

fn main() -> ExitCode {
    keep(&[LAWS])
}

async fn ten_seconds_without_etcd() -> Result<()> {
    without("etcd", &ETCD, SHORT).await
}

async fn ten_seconds_without_consul() -> Result<()> {
    without("consul", &CONSUL, SHORT).await
}

async fn ten_seconds_without_zookeeper() -> Result<()> {
    without("zookeeper", &ZOOKEEPER, SHORT).await
}

async fn a_minute_without_etcd() -> Result<()> {
    asked_for()?;
    without("etcd", &ETCD, LONG).await
}

async fn a_minute_without_consul() -> Result<()> {
    asked_for()?;
    without("consul", &CONSUL, LONG).await
}

async fn a_minute_without_zookeeper() -> Result<()> {
    asked_for()?;
    without("zookeeper", &ZOOKEEPER, LONG).await
}

async fn all_are_restarted_in_turn_on_etcd() -> Result<()> {
    restarted(&format!("etcd://{}", etcd_address().await?)).await
}

async fn all_are_restarted_in_turn_on_consul() -> Result<()> {
    restarted(&format!("consul://{}", consul_address().await?)).await
}

async fn all_are_restarted_in_turn_on_zookeeper() -> Result<()> {
    restarted(&format!("zookeeper://{}", zookeeper_address().await?)).await
}

async fn one_is_killed_on_etcd() -> Result<()> {
    killed(&format!("etcd://{}", etcd_address().await?)).await
}

async fn one_is_killed_on_consul() -> Result<()> {
    killed(&format!("consul://{}", consul_address().await?)).await
}

/// Ends the test unless the long ones are asked for.
fn asked_for() -> Result<(), Missing> {
    match Wanted::read() {
        Wanted::All => Ok(()),
        _ => Err(Missing::not_asked_for(
            "more than a minute; `cargo xtask test --faults --only tests/calls` runs it",
        )),
    }
}

/// The server is killed, and back after `time` with what it had.
async fn without(scheme: &str, recipe: &Recipe, time: Duration) -> Result<()> {
    let server = Server::start(recipe).await?;
    let (mut house, calls) =
        House::open(&format!("{scheme}://{}", server.address()), false).await?;
    server.kill().await?;
    sleep(time).await;
    server.revive().await?;
    house.whole().await?;
    // Its watches tell of what comes after.
    house.join("n4")?;
    house.whole().await?;
    calls.end().await
}

async fn restarted(url: &str) -> Result<()> {
    let (mut house, calls) = House::open(url, false).await?;
    for _ in 0..house.nodes.len() {
        let mut leaving = house.nodes.remove(0);
        leaving.signal(Signal::TERM)?;
        let status = leaving.ended(LIMIT).await?;
        ensure(status.success(), || format!("it ended with {status}"))?;
        house.join(&leaving.order().nodes[0].clone())?;
        house.whole().await?;
    }
    calls.end().await
}

async fn killed(url: &str) -> Result<()> {
    let (mut house, calls) = House::open(url, true).await?;
    let dead = house.nodes.remove(0);
    dead.signal(Signal::KILL)?;
    let begun = Instant::now();
    while house.registry.lookup(&house.service).await?.len() > house.nodes.len() {
        let past = begun.elapsed();
        ensure(past <= T + EPSILON, || {
            format!("still named after {past:?}")
        })?;
        sleep(Duration::from_millis(20)).await;
    }
    house.whole().await?;
    calls.end().await
}

/// The services, and what calls them.
struct House {
    url: String,
    service: ServiceName,
    registry: Arc<dyn Registry>,
    nodes: Vec<Agent>,
    client: Client,
    history: History,
}

impl House {
    async fn open(url: &str, idempotent: bool) -> Result<(Self, Calls)> {
        // Of a name of its own: others may use the server too.
        let service = ServiceName::new(&format!("calls-{:08x}", fastrand::u32(..)))?;
        let client = Client::builder().registry(connect(url).await?).build()?;
        let mut house = Self {
            url: url.to_owned(),
            registry: connect(url).await?,
            nodes: Vec::new(),
            client,
            service,
            history: History::default(),
        };
        for node in ["n1", "n2", "n3"] {
            house.join(node)?;
        }
        for node in &house.nodes {
            let live = node.live(LIMIT).await;
            live.map_err(|error| format!("{error}:\n{}", house.history.render()))?;
        }
        house.client.prepare(house.service.as_str()).await?;
        house.whole().await?;
        let calls = Calls::begin(&house, idempotent);
        sleep(Duration::from_secs(1)).await;
        Ok((house, calls))
    }

    fn join(&mut self, node: &str) -> Result<()> {
        let order = Order {
            registry: self.url.clone(),
            service: self.service.to_string(),
            nodes: vec![node.to_owned()],
            ttl: T,
            follow: false,
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_waypost-test-agent"));
        let serves = [(SERVES, PathBuf::from("1"))];
        let agent = Agent::start_in(&serves, node, binary, order, &self.history)?;
        self.nodes.push(agent);
        Ok(())
    }

    /// Waits until a fresh lookup and the callers know of these nodes, where they are, and of no others.
    async fn whole(&self) -> Result<()> {
        let mut ids: Vec<&str> = self.nodes.iter().map(id).collect();
        ids.sort_unstable();
        let begun = Instant::now();
        loop {
            let found = self.registry.lookup(&self.service).await;
            let found = found.unwrap_or_default().into_iter();
            let mut found: Vec<_> = found
                .map(|one| (one.node.id.to_string(), one.node.address.to_string()))
                .collect();
            let known = self.client.explain(self.service.as_str());
            let known = known.into_iter().flat_map(|known| known.nodes);
            let mut known: Vec<_> = known.map(|one| (one.id, one.address)).collect();
            found.sort_unstable();
            known.sort_unstable();
            if known == found && found.iter().map(|(id, _)| id).eq(&ids) {
                return Ok(());
            }
            ensure(begun.elapsed() < LIMIT, || {
                let history = self.history.render();
                format!("{ids:?} are there, {found:?} named, {known:?} called:\n{history}")
            })?;
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn id(node: &Agent) -> &str {
    &node.order().nodes[0]
}

/// Calls that are made until they are to end.
struct Calls {
    begun: Instant,
    stop: oneshot::Sender<()>,
    made: JoinHandle<(usize, Vec<String>)>,
    history: History,
}

impl Calls {
    fn begin(house: &House, idempotent: bool) -> Self {
        let (stop, stopped) = oneshot::channel();
        let options = CallOptions::new().with_idempotent(idempotent);
        let service = house.service.to_string();
        let calls = calls(house.client.clone(), service, options, stopped);
        Self {
            begun: Instant::now(),
            stop,
            made: tokio::spawn(calls),
            history: house.history.clone(),
        }
    }

    /// Ends them; none may have failed.
    async fn end(self) -> Result<()> {
        sleep(Duration::from_secs(1)).await;
        let least = self.begun.elapsed().div_duration_f64(PERIOD) * 0.9;
        let _ = self.stop.send(());
        let (made, failed) = self.made.await?;
        ensure(made as f64 >= least, || {
            format!("only {made} calls, not {least:.0}")
        })?;
        ensure(failed.is_empty(), || {
            let (first, count) = (&failed[0], failed.len());
            let history = self.history.render();
            format!("{count} of {made} calls failed; the first: {first}\n{history}")
        })
    }
}

/// How many calls were made, and what went wrong with some.
async fn calls(
    client: Client,
    service: String,
    options: CallOptions,
    mut stopped: oneshot::Receiver<()>,
) -> (usize, Vec<String>) {
    let (mut running, mut made, mut failed) = (JoinSet::new(), 0, Vec::new());
    let mut ticks = interval(PERIOD);
    while stopped.try_recv().is_err() {
        ticks.tick().await;
        made += 1;
        running.spawn(call(client.clone(), service.clone(), options.clone()));
        while let Some(done) = running.try_join_next() {
            failed.extend(ended(done));
        }
    }
    while let Some(done) = running.join_next().await {
        failed.extend(ended(done));
    }
    (made, failed)
}

fn ended(done: Result<Result<()>, JoinError>) -> Option<String> {
    let failure = match done {
        Ok(result) => result.err()?.to_string(),
        Err(panic) => panic.to_string(),
    };
    Some(failure)
}

/// One pick that is looked at, and one call.
async fn call(client: Client, service: String, options: CallOptions) -> Result<()> {
    let balancer = client.balancer(&service).ok_or("it was never called")?;
    drop(balancer.pick(&Options::new().with_probing(false))?);
    let request = Request::get(format!("http://{service}/hello")).extension(options);
    let answer = client.request(request.body(Empty::<Bytes>::new())?).await;
    let answer = answer.map_err(|error| error.chain())?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure(status == 200 && body == "hello", || {
        format!("answered {status} {body:?}")
    })
}
