//! A killed owner's record goes within its ttl and the backend's slack.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::ServiceName;
use waypost_testkit::containers::{consul_address, etcd_address, zookeeper_address};
use waypost_testkit::{keep, laws};
use waypost_tests::agent::{Agent, Order, Signal};
use waypost_tests::history::History;
use waypost_tests::house::connect;
use waypost_tests::{Result, ensure};

laws! {
    a_killed_owner_leaves_the_file_registry,
    a_killed_owner_leaves_etcd,
    a_killed_owner_leaves_consul,
    a_killed_owner_leaves_zookeeper,
}

fn main() -> ExitCode {
    keep(&[LAWS])
}

async fn a_killed_owner_leaves_the_file_registry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().display());
    killed(&url, Duration::from_secs(2), Duration::from_millis(500)).await
}

async fn a_killed_owner_leaves_etcd() -> Result<()> {
    let address = etcd_address().await?;
    let url = format!("etcd://{address}/t/{:08x}", fastrand::u32(..));
    killed(&url, Duration::from_secs(3), Duration::from_millis(1500)).await
}

async fn a_killed_owner_leaves_consul() -> Result<()> {
    let url = format!("consul://{}", consul_address().await?);
    killed(&url, Duration::from_secs(3), Duration::from_secs(1)).await
}

/// The server counts in ticks of two seconds.
async fn a_killed_owner_leaves_zookeeper() -> Result<()> {
    let address = zookeeper_address().await?;
    let url = format!("zookeeper://{address}/t/{:08x}", fastrand::u32(..));
    killed(&url, Duration::from_secs(4), Duration::from_secs(3)).await
}

/// Kills a registered process, and looks afresh until nothing names it.
async fn killed(url: &str, ttl: Duration, slack: Duration) -> Result<()> {
    let history = History::default();
    let order = Order {
        registry: url.to_owned(),
        service: "killed".to_owned(),
        nodes: vec!["k1".to_owned(), "k2".to_owned()],
        ttl,
        follow: false,
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_waypost-test-agent"));
    let agent = Agent::start("agent", binary, order, &history)?;
    agent.live(Duration::from_secs(10)).await?;
    // It is renewed: still there when the first ttl has passed.
    sleep(ttl + slack).await;
    let registry = connect(url).await?;
    let name = ServiceName::new("killed")?;
    let before = registry.lookup(&name).await?.len();
    ensure(before == 2, || {
        format!("{before} of 2 nodes while it lives:\n{}", history.render())
    })?;
    let begun = Instant::now();
    agent.signal(Signal::KILL)?;
    while !registry.lookup(&name).await?.is_empty() {
        ensure(begun.elapsed() <= ttl + slack, || {
            format!(
                "still named after {:?}:\n{}",
                begun.elapsed(),
                history.render()
            )
        })?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
