//! Two nodes, one killed with -9 in the middle of calls: `cargo run -p waypost-examples --bin failover`
use std::time::Duration;

use axum::{Router, routing::get};
use tokio::process::{Child, Command};
use waypost::client::Client;
use waypost::resilience::{CallInfo, Decision, Outcome};
use waypost::server::Service;
use waypost::{Drivers, Origin, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, id, place] = &arguments[..] {
        return Ok(node(id, place).await?);
    }
    let folder = tempfile::tempdir()?;
    let place = format!("file://{}", folder.path().display());
    let mut nodes = [start("greeter-1", &place)?, start("greeter-2", &place)?];

    let registry = Drivers::builtin()
        .connect(&Target::parse(&place, None, Origin::Code)?)
        .await?;
    // The user's own retry function: it sees each failed attempt and says what becomes of the call.
    let retry = |call: &CallInfo<'_>, attempt: u32, outcome: &Outcome<'_>| {
        println!(
            "attempt {attempt} of {} on {}: code {}",
            call.endpoint, outcome.node, outcome.code
        );
        if call.idempotent {
            Decision::Retry
        } else {
            Decision::Stop
        }
    };
    let client = Client::builder()
        .registry(registry)
        .retry_policy(retry)
        .build()?;
    client.prepare("greeter").await?;
    while client
        .directory()
        .follow(waypost::ServiceName::new("greeter")?)
        .await?
        .members()
        .len()
        < 2
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // Sixteen calls under way, on both nodes; one node dies under them.
    let calls: Vec<_> = (0..16)
        .map(|_| tokio::spawn(slow(client.clone())))
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    nodes[0].kill().await?;
    println!("greeter-1 is killed");
    let mut answered = 0;
    for call in calls {
        call.await??;
        answered += 1;
    }
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(slow(client.clone())))
        .collect();
    for call in calls {
        call.await??;
        answered += 1;
    }
    println!("{answered} calls answered, 0 failed");
    nodes[1].kill().await?;
    Ok(())
}

async fn slow(client: Client) -> Result<(), waypost::client::Error> {
    let answer = client.get("http://greeter/").await?;
    assert!(answer.status().is_success());
    Ok(())
}

/// This program again, as a node.
fn start(id: &str, place: &str) -> std::io::Result<Child> {
    let program = std::env::current_exe()?;
    Command::new(program)
        .args([id, place])
        .kill_on_drop(true)
        .spawn()
}

async fn node(id: &str, place: &str) -> waypost::Result<()> {
    let registry = Drivers::builtin()
        .connect(&Target::parse(place, None, Origin::Code)?)
        .await?;
    let answer = || async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        "hello"
    };
    let router = Router::new().route("/", get(answer));
    let greeter = Service::builder("greeter").id(id).address("127.0.0.1:0");
    greeter.registry(registry).serve(router).run().await
}
