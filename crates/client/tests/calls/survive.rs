//! One node of several cannot be reached: no call fails.

use std::time::{Duration, Instant};

use waypost_client::{CallOptions, Client};

use crate::node::{BlackHole, Node, refused};
use crate::stage::{Done, Stage, get, nothing_under_way, send, unary};

async fn one(client: &Client, grpc: bool) -> Done {
    if grpc {
        unary(client, "/greeter.Greeter/Hello", CallOptions::new()).await
    } else {
        send(client, get("/hello")).await
    }
}

/// 1 000 calls to `live` nodes and one dead address: what must hold of them.
async fn survives(live: usize, dead: &str, grpc: bool) {
    let mut nodes = Vec::new();
    for _ in 0..live {
        nodes.push(Node::of(grpc).await);
    }
    let addresses = nodes.iter().map(|node| node.address.as_str());
    let stage = Stage::new(addresses.chain([dead])).await;
    let client = stage.client();
    let begun = Instant::now();
    let (mut attempts, mut later) = (0, 0);
    for number in 0..1000 {
        let was = begun.elapsed();
        let done = one(&client, grpc).await;
        assert!(
            done.is_fine(),
            "{live}+1 grpc {grpc}, call {number}: {done:?}"
        );
        let limit = if was < Duration::from_secs(2) { 2 } else { 1 };
        assert!(
            done.took < Duration::from_secs(limit),
            "call {number}: {done:?}"
        );
        // Others are connected by then: nobody waits for the one that is not.
        assert!(number == 0 || done.attempts == 1, "call {number}: {done:?}");
        if number > 0 {
            attempts += done.attempts;
            later += 1;
        }
    }
    let mean = f64::from(attempts) / f64::from(later);
    assert!(mean <= 1.1, "{mean} attempts a call");
    nothing_under_way(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_one_endpoint_refuses() {
    for live in 1..=3 {
        for grpc in [false, true] {
            survives(live, &refused().await, grpc).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_one_endpoint_swallows_everything() {
    for live in 1..=3 {
        for grpc in [false, true] {
            survives(live, &BlackHole::new().await.address, grpc).await;
        }
    }
}

/// A cold client has to wait for one node at most, and not for the one that never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_does_not_wait_for_a_black_hole() {
    let hole = BlackHole::new().await;
    for grpc in [false, true] {
        let node = Node::of(grpc).await;
        let stage = Stage::new([node.address.as_str(), &hole.address]).await;
        for _ in 0..16 {
            let builder = stage.builder().connect_timeout(Duration::from_secs(4));
            let client = builder.build().expect("client");
            let done = one(&client, grpc).await;
            assert!(done.is_fine(), "{done:?}");
            assert!(done.took < Duration::from_secs(2), "{:?}", done.took);
        }
    }
}
