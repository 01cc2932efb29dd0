//! Connections: how many, how long, and what is left behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use futures_util::StreamExt;
use http_body_util::BodyExt;
use waypost_client::CallOptions;

use crate::node::{Does, Node};
use crate::stage::{Stage, get, nothing_under_way, post, send, unary, until};

const HELLO: &str = "/greeter.Greeter/Hello";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_at_64_open_at_most_pool_size_connections_a_node() {
    let nodes = [Node::http().await, Node::http().await, Node::http().await];
    let stage = Stage::new(nodes.iter().map(|node| node.address.as_str())).await;
    let client = stage.builder().pool_size(8).build().expect("client");
    let calls = futures_util::stream::iter(0..10_000)
        .map(|_| send(&client, get("/hello")))
        .buffer_unordered(64);
    let failed = calls
        .filter(|done| std::future::ready(!done.is_fine()))
        .count()
        .await;
    assert_eq!(failed, 0);
    for node in &nodes {
        let opened = node.counts.connections.load(Ordering::SeqCst);
        assert!((1..=8).contains(&opened), "{opened} connections");
    }
    nothing_under_way(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peers_idle_connections_fail_no_call() {
    for grpc in [false, true] {
        let mut nodes = [Node::of(grpc).await, Node::of(grpc).await];
        let stage = Stage::new(nodes.iter().map(|node| node.address.as_str())).await;
        let client = stage.client();
        let call = || async {
            match grpc {
                true => unary(&client, HELLO, CallOptions::new()).await,
                false => send(&client, post("/order", b"one")).await,
            }
        };
        for round in 0..10 {
            let warm = futures_util::stream::iter(0..64)
                .map(|_| call())
                .buffer_unordered(16);
            assert!(
                warm.all(|done| std::future::ready(done.is_fine())).await,
                "round {round}"
            );
            let node = &mut nodes[round % 2];
            node.kill().await;
            for number in 0..50 {
                let done = call().await;
                assert!(done.is_fine(), "round {round}, call {number}: {done:?}");
            }
            node.revive().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_connection_ends_in_time() {
    let node = Node::http().await;
    node.does(Does::Hang);
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.builder().pool_size(1).build().expect("client");
    let first = tokio::spawn({
        let client = client.clone();
        async move { send(&client, post("/order", b"")).await }
    });
    until("the only place is taken", || node.counts.begun() == 1).await;
    let mut request = post("/order", b"");
    let options = CallOptions::new().with_timeout(Duration::from_millis(200));
    request.extensions_mut().insert(options);
    let done = send(&client, request).await;
    assert!(done.took < Duration::from_millis(900), "{:?}", done.took);
    let error = done.error();
    assert!(error.code() == 408 && !error.may_have_run(), "{error:?}");
    assert_eq!(node.counts.begun(), 1);
    first.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_given_up_leak_nothing() {
    for grpc in [false, true] {
        let nodes = [Node::of(grpc).await, Node::of(grpc).await];
        let stage = Stage::new(nodes.iter().map(|node| node.address.as_str())).await;
        let client = stage.builder().pool_size(4).build().expect("client");
        for node in &nodes {
            node.does(Does::Slow(Duration::from_millis(20)));
        }
        // Given up at every moment: before the connection, while it waits, while it is sent.
        let calls = futures_util::stream::iter(0..600_u64).map(|number| {
            let client = &client;
            async move {
                let call = async {
                    match grpc {
                        true => unary(client, HELLO, CallOptions::new()).await,
                        false => send(client, get("/hello")).await,
                    }
                };
                let _ = tokio::time::timeout(Duration::from_micros(number * 97), call).await;
            }
        });
        calls.buffer_unordered(32).count().await;
        nothing_under_way(&client).await;
        for node in &nodes {
            node.does(Does::Answer);
            let counts = &node.counts;
            until("no more connections than places", || {
                counts.open.load(Ordering::SeqCst) <= 4
            })
            .await;
            until("no handler is left", || {
                let ended =
                    counts.done.load(Ordering::SeqCst) + counts.dropped.load(Ordering::SeqCst);
                ended == counts.begun()
            })
            .await;
        }
        // Every place can be taken: as many at once as there are.
        for node in &nodes {
            node.does(Does::Slow(Duration::from_millis(200)));
        }
        let begun = Instant::now();
        let again = futures_util::stream::iter(0..8).map(|_| send_or_unary(&client, grpc));
        assert!(again.buffer_unordered(8).all(std::future::ready).await);
        assert!(
            begun.elapsed() < Duration::from_millis(1900),
            "{:?}",
            begun.elapsed()
        );
    }
}

async fn send_or_unary(client: &waypost_client::Client, grpc: bool) -> bool {
    match grpc {
        true => unary(client, HELLO, CallOptions::new()).await.is_fine(),
        false => send(client, post("/order", b"")).await.is_fine(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_after_the_ttl_and_the_next_call_works() {
    let node = Node::http().await;
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage
        .builder()
        .pool_ttl(Duration::from_millis(400))
        .build()
        .expect("client");
    assert!(send(&client, get("/hello")).await.is_fine());
    assert_eq!(node.counts.open.load(Ordering::SeqCst), 1);
    until("it is closed", || {
        node.counts.open.load(Ordering::SeqCst) == 0
    })
    .await;
    assert!(send(&client, get("/hello")).await.is_fine());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_costs_no_connection_and_counts() {
    let node = Node::http().await;
    node.does(Does::Status(500));
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.client();
    for number in 0..20 {
        let answer = client
            .request(post("/order", b"some"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 500);
        drop(answer);
        until("it is back", || {
            let explained = client.explain(crate::stage::SERVICE).expect("called");
            explained.nodes[0].in_flight == 0
        })
        .await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        if number == 4 {
            let explained = client.explain(crate::stage::SERVICE).expect("called");
            assert!(
                explained.nodes[0].why.is_some(),
                "five failures: {explained:?}"
            );
        }
    }
    let opened = node.counts.connections.load(Ordering::SeqCst);
    assert!(opened <= 3, "{opened} connections for 20 answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_dropped_closes_its_connection() {
    let node = Node::http().await;
    node.does(Does::HangInBody);
    let stage = Stage::new([node.address.as_str()]).await;
    let client = stage.client();
    let mut answer = client
        .request(get("/hello"))
        .await
        .expect("a head")
        .into_body();
    let first = answer.frame().await.expect("a part").expect("whole");
    assert_eq!(first.into_data().expect("data"), "first");
    drop(answer);
    until("it is closed", || {
        node.counts.open.load(Ordering::SeqCst) == 0
    })
    .await;
    nothing_under_way(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_name_one_address_share_its_connections() {
    let nodes = [Node::http().await, Node::of(true).await];
    let same = |node: &Node| vec![node.address.clone(); 40];
    let [http, grpc] = [same(&nodes[0]), same(&nodes[1])];
    let stage = Stage::new(http.iter().map(String::as_str)).await;
    let client = stage.builder().pool_size(8).build().expect("client");
    let calls = futures_util::stream::iter(0..2_000)
        .map(|_| send(&client, get("/hello")))
        .buffer_unordered(64);
    assert!(calls.all(|done| std::future::ready(done.is_fine())).await);
    let opened = nodes[0].counts.connections.load(Ordering::SeqCst);
    assert!((1..=8).contains(&opened), "{opened} connections");
    // All forty were picked, and each of them has those connections.
    let stats = client.stats();
    let open = nodes[0].counts.open.load(Ordering::SeqCst);
    assert_eq!(stats[0].connections, vec![open; 40]);

    let stage = Stage::new(grpc.iter().map(String::as_str)).await;
    let client = stage.client();
    let calls = futures_util::stream::iter(0..500)
        .map(|_| unary(&client, HELLO, CallOptions::new()))
        .buffer_unordered(64);
    assert!(calls.all(|done| std::future::ready(done.is_fine())).await);
    assert_eq!(nodes[1].counts.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_goes_with_the_last_node_at_its_address() {
    let nodes = [Node::http().await, Node::http().await];
    let (one, other) = (nodes[0].address.as_str(), nodes[1].address.as_str());
    let mut stage = Stage::new([one, one, other, other, other, other]).await;
    let client = stage
        .builder()
        .pool_ttl(Duration::from_secs(600))
        .build()
        .expect("client");
    for _ in 0..200 {
        assert!(send(&client, get("/hello")).await.is_fine());
    }
    let open = || nodes[0].counts.open.load(Ordering::SeqCst);
    let known = || {
        client
            .explain(crate::stage::SERVICE)
            .expect("called")
            .nodes
            .len()
    };
    stage.leave(0).await;
    until("it is gone", || known() == 5).await;
    for _ in 0..200 {
        assert!(send(&client, get("/hello")).await.is_fine());
    }
    assert!(open() > 0, "the other entry of that address still has them");
    stage.leave(0).await;
    until("it is gone", || known() == 4).await;
    // Threads let go of what they picked from with their next pick.
    until("they are closed", || {
        let _ = client
            .balancer(crate::stage::SERVICE)
            .map(|one| one.pick(&waypost_selector::Options::new()).map(drop));
        open() == 0
    })
    .await;
}
