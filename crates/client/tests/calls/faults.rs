//! The faults of calls, each with its bound.

use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::time::Instant;

use waypost_client::{CallOptions, ErrorKind};
use waypost_selector::{Canary, Ejection, Rules, Strategy};

use crate::node::{BlackHole, Does, Node, refused};
use crate::stage::{SERVICE, Stage, get, nothing_under_way, post, send, unary, until};

const HELLO: &str = "/greeter.Greeter/Hello";

async fn nodes(count: usize, grpc: bool) -> (Vec<Node>, Stage) {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::of(grpc).await);
    }
    let stage = Stage::new(nodes.iter().map(|node| node.address.as_str())).await;
    (nodes, stage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f44_a_node_of_five_that_refuses_costs_no_user_an_error() {
    for grpc in [false, true] {
        let (_nodes, mut stage) = nodes(4, grpc).await;
        stage.join(&refused().await, "1.0").await;
        let client = stage.client();
        for _ in 0..300 {
            // Not idempotent: what was never sent may go elsewhere all the same.
            let done = match grpc {
                true => unary(&client, HELLO, CallOptions::new()).await,
                false => send(&client, post("/order", b"one")).await,
            };
            assert!(done.is_fine(), "{done:?}");
        }
        nothing_under_way(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f45_a_node_that_hangs_is_given_up_within_the_budget() {
    for grpc in [false, true] {
        let (nodes, stage) = nodes(5, grpc).await;
        nodes[0].does(Does::Hang);
        let client = stage
            .builder()
            .request_timeout(Duration::from_secs(4))
            .build();
        let client = client.expect("client");
        let mut hung = 0;
        for _ in 0..60 {
            let done = match grpc {
                true => unary(&client, HELLO, CallOptions::new().with_idempotent(true)).await,
                false => send(&client, get("/hello")).await,
            };
            assert!(done.is_fine(), "{done:?}");
            assert!(done.took < Duration::from_secs(4), "{:?}", done.took);
            hung += u32::from(done.attempts > 1);
        }
        // By its latency, and after five it is ejected.
        assert!(
            (1..=5).contains(&hung),
            "{hung} calls met the node that hangs"
        );
        nothing_under_way(&client).await;
        until("the handlers that nobody waits for are dropped", || {
            let counts = &nodes[0].counts;
            counts.dropped.load(std::sync::atomic::Ordering::SeqCst) == counts.begun()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f46_a_node_that_answers_500_is_ejected_after_five_and_returns_by_one_probe() {
    let (nodes, stage) = nodes(4, false).await;
    nodes[0].does(Does::Status(500));
    let base = Duration::from_millis(1500);
    let rules = Rules::new()
        .with_strategy(Strategy::RoundRobin)
        .with_ejection(Ejection::new().with_base(base));
    let client = stage.builder().rules(rules).build().expect("client");
    // Five fail: not idempotent, so that none is repeated. Then the node is left alone.
    let begun = Instant::now();
    let mut failed = 0;
    for _ in 0..40 {
        let done = send(&client, post("/order", b"")).await;
        failed += u32::from(matches!(done.result, Ok((500, _))));
    }
    assert_eq!(failed, 5);
    assert_eq!(nodes[0].counts.begun(), 5);
    // The probe is a call that can be repeated: its caller notices nothing.
    while begun.elapsed() < base * 2 {
        let done = send(&client, get("/hello")).await;
        assert!(done.is_fine(), "{done:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(nodes[0].counts.begun(), 6, "one probe, which failed");
    nodes[0].does(Does::Answer);
    let waited = Instant::now();
    while nodes[0].counts.begun() < 20 {
        assert!(send(&client, get("/hello")).await.is_fine());
        assert!(waited.elapsed() < base * 4, "it does not return");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node that is ejected returns though none of its callers may be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ejected_node_returns_where_no_call_is_idempotent() {
    let (nodes, stage) = nodes(3, true).await;
    nodes[0].does(Does::Status(503));
    let base = Duration::from_millis(300);
    let rules = Rules::new()
        .with_strategy(Strategy::RoundRobin)
        .with_ejection(Ejection::new().with_base(base));
    let client = stage.builder().rules(rules).build().expect("client");
    until_ejected(&client, 0).await;
    nodes[0].does(Does::Answer);
    let before = nodes[0].counts.begun();
    let waited = Instant::now();
    while nodes[0].counts.begun() < before + 5 {
        assert!(unary(&client, HELLO, CallOptions::new()).await.is_fine());
        assert!(
            waited.elapsed() < Duration::from_secs(5),
            "it does not return"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn until_ejected(client: &waypost_client::Client, node: usize) {
    let begun = Instant::now();
    loop {
        let _ = unary(client, HELLO, CallOptions::new()).await;
        let explained = client.explain(SERVICE).expect("called");
        if explained.nodes[node].why.is_some() {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it is not ejected"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_its_time_makes_no_slow_node() {
    for grpc in [false, true] {
        let (nodes, stage) = nodes(1, grpc).await;
        let slow = Duration::from_secs(1);
        nodes[0].does(Does::SlowBody(slow));
        let client = stage.client();
        for _ in 0..2 {
            let done = match grpc {
                true => unary(&client, HELLO, CallOptions::new()).await,
                false => send(&client, get("/hello")).await,
            };
            assert!(done.is_fine() && done.took >= slow, "{done:?}");
        }
        let latency = client.explain(SERVICE).expect("called").nodes[0].latency;
        let latency = Duration::from_secs_f32(latency / 1e6);
        assert!(latency < slow / 2, "{latency:?}, gRPC: {grpc}");
    }
}

#[tokio::test]
async fn who_is_ejected_and_what_retries_are_left_is_measured() {
    let recorder = DebuggingRecorder::new();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (nodes, stage) = nodes(4, true).await;
    nodes[0].does(Does::Status(503));
    let rules = Rules::new().with_strategy(Strategy::RoundRobin);
    let client = stage.builder().rules(rules).build().expect("client");
    until_ejected(&client, 0).await;
    let snapshotter = recorder.snapshotter();
    let begun = Instant::now();
    let left = loop {
        // A look at it takes what was measured away.
        let seen = snapshotter.snapshot().into_vec();
        let gauge = |name: &str| {
            seen.iter().find_map(|(key, _, _, value)| match value {
                DebugValue::Gauge(value) if key.key().name() == name => Some(value.into_inner()),
                _ => None,
            })
        };
        if gauge("waypost_ejected_nodes") == Some(1.0) {
            break gauge("waypost_retry_budget_remaining").expect("measured");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it is not told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // Three a second are kept for ten seconds.
    assert!((1.0..=35.0).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f47_a_poison_request_ejects_at_most_half_and_leaves_others_alone() {
    let (nodes, stage) = nodes(5, false).await;
    for node in &nodes {
        node.does(Does::Poisoned);
    }
    let client = stage.client();
    for number in 0..300 {
        let poison = send(&client, post("/poison", b"")).await;
        assert!(matches!(poison.result, Ok((500, _))), "{poison:?}");
        let other = send(&client, get("/hello")).await;
        assert!(other.is_fine(), "call {number}: {other:?}");
        let explained = client.explain(SERVICE).expect("called");
        let out = explained.nodes.iter().filter(|node| node.why.is_some());
        assert!(
            explained.panic || out.count() * 2 <= nodes.len(),
            "{explained:?}"
        );
    }
    let bad = send(&client, get("/nobody")).await;
    assert!(bad.is_fine());
    for node in &nodes {
        node.does(Does::Status(404));
    }
    let fresh = stage.client();
    for _ in 0..100 {
        let done = send(&fresh, get("/hello")).await;
        assert!(
            matches!(done.result, Ok((404, _))) && done.attempts == 1,
            "{done:?}"
        );
    }
    let explained = fresh.explain(SERVICE).expect("called");
    assert!(
        explained.nodes.iter().all(|node| node.why.is_none()),
        "4xx counts"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f48_with_all_nodes_down_the_error_is_fast_and_the_way_back_short() {
    for grpc in [false, true] {
        let (mut nodes, stage) = nodes(3, grpc).await;
        let client = stage.client();
        let call = || async {
            match grpc {
                true => unary(&client, HELLO, CallOptions::new()).await,
                false => send(&client, get("/hello")).await,
            }
        };
        assert!(call().await.is_fine());
        for node in &mut nodes {
            node.kill().await;
        }
        for _ in 0..20 {
            let done = call().await;
            assert!(done.took < Duration::from_secs(2), "{:?}", done.took);
            let error = done.error();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Connect, 503),
                "{error:?}"
            );
            assert!(!error.may_have_run() && error.node().is_some(), "{error}");
        }
        nodes[1].revive().await;
        let back = Instant::now();
        while !call().await.is_fine() {
            assert!(
                back.elapsed() < Duration::from_secs(3),
                "it is not found again"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f48_nodes_that_all_fail_get_a_tenth_more_than_is_offered() {
    let (nodes, stage) = nodes(3, false).await;
    for node in &nodes {
        node.does(Does::Status(503));
    }
    let client = stage.client();
    let offered = 2_000;
    let begun = Instant::now();
    for _ in 0..offered {
        let done = send(&client, get("/hello")).await;
        assert!(matches!(done.result, Ok((503, _))), "{done:?}");
    }
    let got: u32 = nodes.iter().map(|node| node.counts.begun()).sum();
    // A tenth, and three a second whatever is offered, of ten seconds at once.
    let allowed = offered + offered / 10 + 30 + 3 * (begun.elapsed().as_secs() as u32 + 1);
    assert!((offered..=allowed).contains(&got), "{got} of {offered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f50_the_node_learns_that_the_caller_has_gone() {
    for grpc in [false, true] {
        let (nodes, stage) = nodes(1, grpc).await;
        let client = stage.client();
        nodes[0].does(Does::Hang);
        for number in 1..=20 {
            let call = async {
                match grpc {
                    true => unary(&client, HELLO, CallOptions::new()).await,
                    false => send(&client, post("/order", b"one")).await,
                }
            };
            let counts = &nodes[0].counts;
            tokio::select! {
                done = call => panic!("answered: {done:?}"),
                () = until("the node has it", || counts.begun() == number) => {}
            }
            let gone = Instant::now();
            until("the handler is dropped", || {
                counts.dropped.load(std::sync::atomic::Ordering::SeqCst) == number
            })
            .await;
            assert!(
                gone.elapsed() < Duration::from_millis(500),
                "{:?}",
                gone.elapsed()
            );
        }
        nothing_under_way(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f53_a_canary_gets_its_tenth_of_the_calls_while_nodes_come_and_go() {
    let (old, mut stage) = nodes(3, false).await;
    let canary = Node::http().await;
    stage.join(&canary.address, "2.0").await;
    let rules = Rules::new().with_canary(Canary::share("2.0", 0.1).expect("share"));
    let client = stage.builder().rules(rules).build().expect("client");
    // Every node is connected first: a call does not wait for a version's first connection.
    for _ in 0..200 {
        assert!(send(&client, get("/hello")).await.is_fine());
    }
    let before = canary.counts.begun();
    let extra = Node::http().await;
    let calls = 6_000;
    for number in 0..calls {
        if number == calls / 3 {
            stage.join(&extra.address, "1.0").await;
        }
        if number == calls / 2 {
            stage.leave(0).await;
        }
        assert!(send(&client, get("/hello")).await.is_fine());
    }
    let share = f64::from(canary.counts.begun() - before) / f64::from(calls);
    // Five standard deviations: once in two million runs.
    assert!(
        (share - 0.1).abs() < 5.0 * (0.09 / f64::from(calls)).sqrt(),
        "{share}"
    );
    assert!(old.len() == 3 && extra.counts.begun() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_not_moved_because_its_node_is_not_connected_yet() {
    let (_nodes, stage) = nodes(5, false).await;
    let rules = Rules::new().with_strategy(Strategy::ConsistentHash);
    let keyed = |key: u32| {
        let mut request = get("/hello");
        let key = waypost_selector::Key::of(key.to_le_bytes());
        request
            .extensions_mut()
            .insert(CallOptions::new().with_key(key));
        request
    };
    let warm = stage
        .builder()
        .rules(rules.clone())
        .build()
        .expect("client");
    for key in 0..40 {
        let known = send(&warm, keyed(key)).await.node;
        let cold = stage
            .builder()
            .rules(rules.clone())
            .build()
            .expect("client");
        // One other node is connected, so that there is a temptation.
        send(&cold, keyed(key + 1)).await;
        assert_eq!(send(&cold, keyed(key)).await.node, known, "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_no_time_to_wait_still_finds_out_about_a_black_hole() {
    let hole = BlackHole::new().await;
    let stage = Stage::new([hole.address.as_str()]).await;
    let client = stage.client();
    // The registry's answer is not what is waited for here.
    client.prepare(SERVICE).await.expect("known");
    let options = || CallOptions::new().with_timeout(Duration::from_millis(40));
    let begun = Instant::now();
    loop {
        let done = unary(&client, HELLO, options()).await;
        assert!(done.took < Duration::from_millis(400), "{:?}", done.took);
        assert!(!done.error().may_have_run());
        let explained = client.explain(SERVICE).expect("called");
        if explained.nodes[0].why.is_some() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody finds out");
    }
}
