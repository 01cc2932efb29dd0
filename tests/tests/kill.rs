//! A killed owner's record goes within its ttl and the backend's slack.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::ServiceName;
use waypost_tests::agent::{Agent, Order, Signal};
use waypost_tests::history::History;
use waypost_tests::house::connect;
use waypost_tests::trial::{self, Needs};
use waypost_tests::{Result, ensure};

fn main() -> ExitCode {
    trial::main(&[
        (
            "a_killed_owner_leaves_the_file_registry",
            Needs::Nothing(|| {
                Box::pin(async {
                    let folder = tempfile::tempdir()?;
                    let url = format!("file://{}", folder.path().display());
                    let (ttl, slack) = (Duration::from_secs(2), Duration::from_millis(500));
                    killed(&url, ttl, slack).await
                })
            }),
        ),
        (
            "a_killed_owner_leaves_etcd",
            Needs::Etcd(|address| {
                Box::pin(async move {
                    let url = format!("etcd://{address}/t/{:08x}", fastrand::u32(..));
                    let (ttl, slack) = (Duration::from_secs(3), Duration::from_millis(1500));
                    killed(&url, ttl, slack).await
                })
            }),
        ),
    ])
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
