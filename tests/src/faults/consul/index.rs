//! Indexes that must not be trusted: an agent that answers at once whatever it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, WatchScope};

use crate::backend::{Backend as _, Consul};
use crate::bounds::{Bound, EPSILON};
use crate::house::{House, SERVICE, Shape, connect, service};
use crate::impostor::{Reply, Web};
use crate::{Result, ensure};

use super::super::{Fault, patience};

/// How long it answers so.
const DURING: Duration = Duration::from_secs(12);
/// The first answer, one for who joined the shared query while that came, and those without a later
/// index that may follow each other at once.
const BURST: f64 = 1.0 + 1.0 + 2.0;

pub(super) fn faults() -> Vec<Fault<Consul>> {
    vec![Fault {
        name: "F31_index_that_never_moves_or_jumps_back",
        law: "an agent whose index is none, repeats or jumps back is asked once a second by each \
              watch, and what it says is believed",
        bound: Bound {
            formula: "1 request/s a watch, after 4 at once",
            limit: 1.0,
            unit: "1/s",
        },
        shape: Shape::PLAIN,
        run: |house| Box::pin(wrong_indexes(house)),
    }]
}

async fn wrong_indexes(house: &mut House<Consul>) -> Result<f64> {
    let none: &[&str] = &["x-consul-index: 0\r\n"];
    let same: &[&str] = &["x-consul-index: 7\r\n"];
    let missing: &[&str] = &[""];
    let jumping: &[&str] = &["x-consul-index: 9\r\n", "x-consul-index: 5\r\n"];
    let one = || WatchScope::Service(service());
    let (rates, all) = tokio::join!(
        try_join_all([none, same, missing, jumping].map(|indexes| rate(house, indexes, one()))),
        // The list of services goes back at the same time, which ends a watch of all.
        try_join_all([none, same, missing].map(|indexes| rate(house, indexes, WatchScope::All))),
    );
    house.bystanders_stay(0)?;
    Ok(rates?.into_iter().chain(all?).fold(0.0, f64::max))
}

/// How often an agent with these indexes, in turn, is asked for news of `scope`.
async fn rate(
    house: &House<Consul>,
    indexes: &'static [&'static str],
    scope: WatchScope,
) -> Result<f64> {
    let nodes = Arc::new(AtomicUsize::new(1));
    let web = Web::start(script(indexes, Arc::clone(&nodes))).await?;
    let registry = connect(&house.backend.url(web.address(), "")).await?;
    let options = DirectoryOptions::new().with_connect_timeout(patience(EPSILON));
    let directory = Directory::new(registry, options);
    let begun = Instant::now();
    let followed = directory.follow(scope.clone()).await?;
    ensure(followed.members().len() == 1, || "one node is to be seen")?;
    sleep(DURING).await;
    let news = match scope {
        WatchScope::All => "/v1/health/state/any",
        _ => "/v1/health/service/orders",
    };
    let (asked, spent) = (web.times(news).len(), begun.elapsed());
    house.history.note(
        "impostor",
        format!("{indexes:?} of {scope}: asked {asked} times"),
    );
    // What it says is believed, index or not.
    nodes.store(2, Ordering::SeqCst);
    sleep(patience(EPSILON)).await;
    let seen = followed.members().len();
    ensure(seen == 2, || {
        format!("{indexes:?} of {scope}: {seen} nodes are seen, not 2")
    })?;
    Ok((asked as f64 - BURST).max(0.0) / spent.as_secs_f64())
}

fn script(
    indexes: &'static [&'static str],
    nodes: Arc<AtomicUsize>,
) -> impl Fn(&str) -> Reply + Send + Sync + 'static {
    let turn = AtomicUsize::new(0);
    move |line| {
        let count = nodes.load(Ordering::SeqCst);
        let headers = indexes[turn.fetch_add(1, Ordering::SeqCst) % indexes.len()];
        let id = |number: usize| format!("{SERVICE}-{number}");
        if line.contains("catalog/services") {
            return Reply::good(headers, json!({ SERVICE: [] }));
        }
        let check = |number| {
            json!({
                "Node": "m1", "CheckID": format!("service:{}", id(number)), "Status": "passing",
                "ServiceID": id(number), "ServiceName": SERVICE, "ModifyIndex": 5,
            })
        };
        if line.contains("state/any") {
            let checks: Vec<_> = (0..count).map(check).collect();
            return Reply::good(headers, json!(checks));
        }
        let entry = |number| {
            json!({
                "Node": {"Node": "m1", "Address": "10.0.0.9"},
                "Service": {"ID": id(number), "Service": SERVICE, "Address": "10.0.0.1",
                    "Port": 80 + number, "Tags": ["v=1"], "Meta": null},
                "Checks": [check(number)],
            })
        };
        let entries: Vec<_> = (0..count).map(entry).collect();
        Reply::good(headers, json!(entries))
    }
}
