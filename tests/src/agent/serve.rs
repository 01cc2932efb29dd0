//! What an agent does that is a service which can be called.

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use waypost::server::{Service, Stop};
use waypost::{Drivers, Origin, Target};

use crate::Result;

use super::work::input_closed;
use super::{Order, Report};

/// Names the variable that makes an agent a service of its order's first node.
pub const SERVES: &str = "WAYPOST_TEST_SERVES";

/// How long an answer takes, so that some are under way whatever happens.
const WORK: Duration = Duration::from_millis(20);

/// Serves until the process is told to terminate or its input is closed; tells when it is live.
///
/// # Errors
/// The registry's, when it cannot be opened, or the service's.
pub async fn serve(order: Order) -> Result<()> {
    let target = Target::parse(&order.registry, None, Origin::Environment)?;
    let registry = Drivers::builtin().connect(&target).await?;
    let node = order.nodes.into_iter().next().ok_or("no node")?;
    let stop = Stop::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        let _ = input_closed().await;
        stopper.stop();
    });
    let service = Service::builder(order.service)
        .id(&node)
        .registry(registry)
        .register_ttl(order.ttl)
        .address("127.0.0.1:0")
        .without_admin()
        .stop_with(stop)
        .serve(Router::new().route("/hello", get(hello)));
    let service = service.start().await?;
    let report = Report {
        node,
        state: "live".to_owned(),
        kind: None,
        cause: None,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(service.wait().await?)
}

async fn hello() -> &'static str {
    tokio::time::sleep(WORK).await;
    "hello"
}
