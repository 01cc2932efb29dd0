//! Programs before and after: what three changed lines, beside `use` and Cargo.toml, give to clients
//! and servers that are there already. One node of three is dead.

#[path = "../pairs/axum/after.rs"]
mod axum_after;
#[path = "../pairs/axum/before.rs"]
mod axum_before;
#[path = "../pairs/reqwest/after.rs"]
mod reqwest_after;
#[path = "../pairs/reqwest/before.rs"]
mod reqwest_before;
#[path = "../pairs/tonic/after.rs"]
mod tonic_after;
#[path = "../pairs/tonic/before.rs"]
mod tonic_before;
#[path = "../pairs/tower/after.rs"]
mod tower_after;
#[path = "../pairs/tower/before.rs"]
mod tower_before;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};
use waypost::{
    Address, Drivers, Instance, Node, NodeId, RegisterOptions, Registry, ServiceName, Target,
};
use waypost_examples::hello::greeter_server::{Greeter, GreeterServer};
use waypost_examples::hello::{HelloReply, HelloRequest};

/// Calls that each program makes.
pub const CALLS: usize = 60;

/// How a program's calls went.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Tally {
    fine: usize,
    failed: usize,
}

impl Tally {
    pub fn note(&mut self, fine: bool) {
        self.fine += usize::from(fine);
        self.failed += usize::from(!fine);
    }
}

/// Three nodes, of which one is dead: as a list, and in a registry.
#[derive(Clone)]
pub struct Place {
    pub nodes: Vec<String>,
    registry: Arc<dyn Registry>,
    turn: Arc<AtomicUsize>,
}

impl Place {
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.registry)
    }

    /// The nodes in turn.
    pub fn next(&self) -> &str {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.nodes[turn % self.nodes.len()]
    }
}

struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply::default()))
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn place() -> Place {
    let registry = Drivers::builtin()
        .connect(&Target::new("memory").unwrap())
        .await
        .unwrap();
    let grpc = tonic::service::Routes::new(GreeterServer::new(Polite)).into_axum_router();
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .merge(grpc);
    let dead = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let nodes = [serve(router.clone()).await, dead, serve(router).await];
    for (number, address) in nodes.iter().enumerate() {
        let id = NodeId::new(&format!("greeter-{number}")).unwrap();
        let node = Node::new(id, Address::new(&address.to_string()).unwrap());
        let instance = Instance::new(ServiceName::new("greeter").unwrap(), node);
        let options = RegisterOptions::new(Duration::from_secs(600));
        // The record outlives its lease for the ttl.
        std::mem::forget(registry.register(&instance, options).await.unwrap());
    }
    let nodes = nodes.iter().map(ToString::to_string).collect();
    Place {
        nodes,
        registry,
        turn: Arc::default(),
    }
}

/// Serves an axum program and calls it.
pub async fn call_front(router: Router) -> anyhow::Result<Tally> {
    let front = serve(router).await;
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        let answer = reqwest::get(format!("http://{front}/")).await?;
        tally.note(answer.status().is_success());
    }
    Ok(tally)
}

/// Lines of `after` that are not in `before`, beside `use`.
fn changed(before: &str, after: &str) -> Vec<String> {
    let lines = |text: &str| {
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.starts_with("use ") && !line.trim().is_empty())
        {
            *left.entry(line.trim().to_owned()).or_default() += 1;
        }
        left
    };
    let mut left = lines(before);
    let mut changed = Vec::new();
    for (line, times) in lines(after) {
        let had = left.remove(&line).unwrap_or(0);
        changed.extend(std::iter::repeat_n(line, times.saturating_sub(had)));
    }
    changed
}

macro_rules! pair {
    ($test:ident, $folder:literal, $before:ident, $after:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let before = include_str!(concat!("../pairs/", $folder, "/before.rs"));
            let after = include_str!(concat!("../pairs/", $folder, "/after.rs"));
            let changed = changed(before, after);
            assert!((1..=3).contains(&changed.len()), "{changed:#?}");
            let place = place().await;
            let seen = $before::run(&place).await.unwrap();
            assert_eq!(seen.fine + seen.failed, CALLS);
            assert!(seen.failed > 0, "a dead node is in the list: {seen:?}");
            let seen = $after::run(&place).await.unwrap();
            assert_eq!(
                seen,
                Tally {
                    fine: CALLS,
                    failed: 0
                }
            );
        }
    };
}

pair!(
    a_generated_client_of_tonic,
    "tonic",
    tonic_before,
    tonic_after
);
pair!(
    a_client_of_reqwest,
    "reqwest",
    reqwest_before,
    reqwest_after
);
pair!(a_server_of_axum, "axum", axum_before, axum_after);
pair!(a_stack_of_tower, "tower", tower_before, tower_after);
