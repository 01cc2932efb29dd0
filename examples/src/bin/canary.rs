//! Ten calls in a hundred to the new version: `cargo run -p waypost-examples --bin canary`
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::{Json, Router, routing::post};
use waypost::client::Client;
use waypost::selector::{Canary, Rules};
use waypost::server::Service;
use waypost::{Drivers, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = Drivers::builtin().connect(&Target::new("memory")?).await?;
    let mut nodes = Vec::new();
    for version in ["1.0", "1.0", "2.0"] {
        let answer = move || async move { Json(version) };
        let service = Service::builder("prices")
            .version(version)
            .address("127.0.0.1:0")
            .propagation(Duration::ZERO)
            .registry(Arc::clone(&registry));
        let router = Router::new().route("/Prices.Get", post(answer));
        let running = service.serve(router).start().await?;
        running.ready().await;
        nodes.push(running);
    }

    let rules = Rules::new().with_canary(Canary::share("2.0", 0.1)?);
    let client = Client::builder().registry(registry).rules(rules).build()?;
    let mut seen = BTreeMap::new();
    for _ in 0..2000 {
        let version: String = client.call("prices", "Prices.Get", &()).await?;
        *seen.entry(version).or_insert(0) += 1;
    }
    for (version, calls) in seen {
        println!("{version}: {calls} calls");
    }
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}
