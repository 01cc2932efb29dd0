//! Three hops of 60 ms under 100 ms in all: `cargo run -p waypost-examples --bin budget`
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use waypost::client::{CallOptions, Client, Error};
use waypost::server::Service;
use waypost::{Drivers, Target};

/// A hop: how often it was begun and finished, and whom it calls.
struct Hop {
    begun: AtomicU32,
    finished: AtomicU32,
    next: Option<&'static str>,
    client: Client,
}

/// Works for 60 ms, then calls the next. Nothing here knows of the deadline.
async fn work(State(hop): State<Arc<Hop>>) -> Result<&'static str, Error> {
    hop.begun.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(60)).await;
    if let Some(next) = hop.next {
        let _: String = hop.client.call(next, "/work", &()).await?;
    }
    hop.finished.fetch_add(1, Ordering::SeqCst);
    Ok("\"done\"")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = Drivers::builtin().connect(&Target::new("memory")?).await?;
    let client = Client::builder().registry(Arc::clone(&registry)).build()?;
    let mut hops = Vec::new();
    let mut nodes = Vec::new();
    for (name, next) in [
        ("first", Some("second")),
        ("second", Some("third")),
        ("third", None),
    ] {
        let hop = Arc::new(Hop {
            begun: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            next,
            client: client.clone(),
        });
        let router = Router::new()
            .route("/work", post(work))
            .with_state(Arc::clone(&hop));
        let service = Service::builder(name)
            .address("127.0.0.1:0")
            .propagation(Duration::ZERO);
        let running = service
            .registry(Arc::clone(&registry))
            .serve(router)
            .start()
            .await?;
        running.ready().await;
        client.prepare(name).await?;
        hops.push((name, hop));
        nodes.push(running);
    }

    let options = CallOptions::new().with_timeout(Duration::from_millis(100));
    let error = client
        .call_with::<_, String>("first", "/work", &(), &options)
        .await
        .unwrap_err();
    println!("code {}", error.code());
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (name, hop) in &hops {
        let (begun, finished) = (
            hop.begun.load(Ordering::SeqCst),
            hop.finished.load(Ordering::SeqCst),
        );
        println!("{name}: begun {begun}, finished {finished}");
    }
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}
