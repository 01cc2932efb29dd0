//! reqwest, with names of services for hosts: `cargo run -p waypost-examples --bin reqwest`
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, http::HeaderMap, routing::get};
use reqwest_middleware::ClientBuilder;
use waypost::client::Client;
use waypost::server::Service;
use waypost::{Drivers, Target};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = Drivers::builtin().connect(&Target::new("memory")?).await?;
    let answer = |headers: HeaderMap| async move { format!("asked for {:?}", headers["host"]) };
    let service = Service::builder("greeter")
        .address("127.0.0.1:0")
        .propagation(Duration::ZERO);
    let router = Router::new().route("/hello", get(answer));
    let running = service
        .registry(Arc::clone(&registry))
        .serve(router)
        .start()
        .await?;
    running.ready().await;

    let client = Client::builder().registry(registry).build()?;
    let plain = reqwest::Client::builder()
        .connect_timeout(Duration::from_millis(250))
        .build()?;
    let http = ClientBuilder::new(plain).with(client.reqwest()).build();
    println!(
        "{}",
        http.get("http://greeter/hello")
            .send()
            .await?
            .text()
            .await?
    );
    let error = http.get("http://nobody/hello").send().await.unwrap_err();
    println!("{error}");
    running.stop().await?;
    Ok(())
}
