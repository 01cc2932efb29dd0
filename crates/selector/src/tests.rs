//! Picking, over a clock that stands still.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use waypost_core::{Address, Endpoint, Instance, Node, NodeId, ServiceName};

use super::*;

mod property;

type Nodes = Vec<Arc<Instance>>;

fn named(id: &str) -> Instance {
    let port = 1 + id.bytes().fold(0_u16, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }) % 60_000;
    let address = Address::new(&format!("10.0.0.1:{port}")).expect("address");
    let node = Node::new(NodeId::new(id).expect("id"), address);
    Instance::new(ServiceName::new("orders").expect("name"), node).with_version("1.0")
}

fn labelled(id: &str, key: &str, value: &str) -> Arc<Instance> {
    let mut instance = named(id);
    instance
        .node
        .metadata
        .insert(key.to_owned(), value.to_owned());
    Arc::new(instance)
}

fn nodes(count: usize) -> Nodes {
    (0..count)
        .map(|index| Arc::new(named(&format!("n{index}"))))
        .collect()
}

struct Stage {
    balancer: Balancer,
    clock: Arc<quanta::Mock>,
}

impl Stage {
    fn new(rules: Rules, live: Nodes) -> Self {
        let (clock, mock) = quanta::Clock::mock();
        mock.increment(Duration::from_secs(3600));
        let service = ServiceName::new("orders").expect("name");
        let balancer = Balancer::with_clock(service, rules, clock).expect("rules");
        balancer.publish_nodes(live, []);
        Self {
            balancer,
            clock: mock,
        }
    }

    fn of(strategy: Strategy, count: usize) -> Self {
        Self::new(Rules::new().with_strategy(strategy), nodes(count))
    }

    fn pass(&self, milliseconds: u64) {
        self.clock.increment(Duration::from_millis(milliseconds));
    }

    fn pick(&self) -> Pick {
        self.balancer.pick(&Options::new()).expect("a node")
    }

    fn id(&self) -> String {
        let pick = self.pick();
        let id = pick.node().id().to_string();
        pick.mark(Outcome::SUCCESS);
        id
    }

    /// How often each of `count` picks went where.
    fn shares(&self, count: usize) -> HashMap<String, usize> {
        let mut seen = HashMap::new();
        for _ in 0..count {
            *seen.entry(self.id()).or_default() += 1;
        }
        seen
    }

    fn is_out(&self, id: &str) -> bool {
        let shown = self.balancer.explain();
        shown
            .nodes
            .iter()
            .any(|node| node.id == id && node.why.is_some())
    }

    fn fail(&self, id: &str, times: usize) {
        let id = NodeId::new(id).expect("id");
        for _ in 0..times {
            self.balancer.mark(&id, Outcome::FAILURE);
        }
    }
}

#[test]
fn random_gives_all_the_same() {
    let shares = Stage::of(Strategy::Random, 10).shares(100_000);
    assert_eq!(shares.len(), 10);
    assert!(
        shares.values().all(|count| (9_500..10_500).contains(count)),
        "{shares:?}"
    );
}

#[test]
fn round_robin_goes_on_over_calls_and_over_changes() {
    let stage = Stage::of(Strategy::RoundRobin, 7);
    let first: Vec<String> = (0..7).map(|_| stage.id()).collect();
    for expected in first.iter().chain(&first) {
        assert_eq!(stage.id(), *expected);
    }
    stage.balancer.publish_nodes(nodes(8), []);
    let shares = stage.shares(80);
    assert!(shares.values().all(|count| *count == 10), "{shares:?}");
}

#[test]
fn weights_come_from_metadata_and_nonsense_counts_as_one() {
    let live = [
        ("a", "3"),
        ("b", "1"),
        ("c", "0"),
        ("d", "NaN"),
        ("e", "-2"),
        ("f", "1e300"),
    ];
    let live: Nodes = live
        .iter()
        .map(|(id, weight)| labelled(id, "weight", weight))
        .collect();
    let stage = Stage::new(Rules::new().with_strategy(Strategy::Weighted), live);
    let shares = stage.shares(70_000);
    assert_eq!(shares.get("c"), None);
    assert!((29_000..31_000).contains(&shares["a"]), "{shares:?}");
    for one in ["b", "d", "e", "f"] {
        assert!((9_500..10_500).contains(&shares[one]), "{shares:?}");
    }
    let none: Nodes = ["a", "b"].map(|id| labelled(id, "weight", "0")).into();
    stage.balancer.publish_nodes(none, []);
    let error = stage
        .balancer
        .pick(&Options::new())
        .expect_err("all weigh nothing");
    assert_eq!(
        error.to_string(),
        "service `orders`: none of 2 nodes can be picked: 2 have weight 0"
    );
}

#[test]
fn least_conn_takes_the_one_with_fewer_calls_under_way() {
    let stage = Stage::of(Strategy::LeastConn, 2);
    let held = stage.pick();
    for _ in 0..100 {
        assert_ne!(stage.id(), held.node().id().as_str());
    }
    let both = (stage.pick(), stage.pick());
    assert_ne!(both.0.node().id(), held.node().id());
    drop((held, both));
    assert_eq!(stage.shares(1000).len(), 2);
}

#[test]
fn p2c_ewma_shuns_the_slow_and_the_fast_failing_and_forgives() {
    let stage = Stage::of(Strategy::P2cEwma, 3);
    let call = |slow: &str, failing: &str| {
        let pick = stage.pick();
        let id = pick.node().id().to_string();
        if id == failing {
            pick.mark(Outcome::FAILURE);
        } else {
            stage.pass(if id == slow { 100 } else { 10 });
            pick.mark(Outcome::SUCCESS);
        }
        id
    };
    let count = |slow: &str, failing: &str, of: &str| {
        (0..1000).filter(|_| call(slow, failing) == of).count()
    };
    count("n0", "", "");
    assert!(count("n0", "", "n0") < 100);
    let never = Stage::new(Rules::new().with_ejection(Ejection::never()), nodes(3));
    let mut failed = 0;
    for _ in 0..1000 {
        let pick = never.pick();
        if pick.node().id().as_str() == "n1" {
            failed += 1;
            pick.mark(Outcome::FAILURE);
        } else {
            never.pass(10);
            pick.mark(Outcome::SUCCESS);
        }
    }
    assert!(failed < 20, "a node that fails fast got {failed} of 1000");
    never.pass(180_000);
    let mut forgiven = 0;
    for _ in 0..300 {
        let pick = never.pick();
        forgiven += usize::from(pick.node().id().as_str() == "n1");
        never.pass(10);
        pick.mark(Outcome::SUCCESS);
    }
    assert!(forgiven > 50, "{forgiven} of 300 after three minutes");
}

#[test]
fn an_answer_that_goes_on_for_long_is_no_slow_one_but_under_way() {
    let stage = Stage::of(Strategy::P2cEwma, 2);
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut pick = stage.pick();
        stage.pass(10);
        pick.answered();
        streams.push(pick);
    }
    let seen = || {
        let nodes = stage.balancer.explain().nodes;
        let under_way: u32 = nodes.iter().map(|node| node.in_flight).sum();
        let latencies: Vec<f32> = nodes.iter().map(|node| node.latency).collect();
        (under_way, latencies)
    };
    let (under_way, before) = seen();
    assert_eq!(under_way, 20);
    for latency in &before {
        assert!((9_000.0..=11_000.0).contains(latency), "{before:?}");
    }
    stage.pass(1_000_000);
    for pick in streams {
        pick.mark(Outcome::SUCCESS);
    }
    assert_eq!(seen(), (0, before));
}

#[test]
fn a_key_finds_its_node_again_whoever_comes_and_goes() {
    let stage = Stage::of(Strategy::ConsistentHash, 10);
    let of = |key: u32| {
        let options = Options::new().with_key(Key::of(key.to_le_bytes()));
        let pick = stage.balancer.pick(&options).expect("a node");
        pick.node().id().to_string()
    };
    let before: Vec<String> = (0..1000).map(of).collect();
    assert_eq!(before, (0..1000).map(of).collect::<Vec<_>>());
    stage.balancer.publish_nodes(nodes(9), []);
    let moved = (0..1000)
        .zip(&before)
        .filter(|(key, node)| of(*key) != **node)
        .count();
    assert!(moved < 130, "{moved} of 1000 moved when one of ten left");
}

#[test]
fn a_canary_gets_its_share_while_nodes_come_and_go() {
    let canary = Canary::share("2.0", 0.1).expect("share");
    let rules = Rules::new().with_canary(canary);
    let versioned = |id: usize| {
        let version = if id.is_multiple_of(4) { "2.0" } else { "1.0" };
        Arc::new(named(&format!("n{id}")).with_version(version))
    };
    let stage = Stage::new(rules, (0..20).map(versioned).collect());
    let mut fresh = 0;
    for round in 0..100_000 {
        if round % 100 == 0 {
            let some = 4 + fastrand::usize(..30);
            stage.balancer.publish_nodes((0..some).map(versioned), []);
        }
        let pick = stage.pick();
        fresh += usize::from(pick.instance().version == "2.0");
        pick.mark(Outcome::SUCCESS);
    }
    assert!((9_700..=10_300).contains(&fresh), "{fresh} of 100 000");
    // Sticky by key, and a version without nodes leaves its share to the others.
    let key = Options::new().with_key(Key::of("user 7"));
    let version = |options: &Options<'_>| {
        stage
            .balancer
            .pick(options)
            .expect("a node")
            .instance()
            .version
            .clone()
    };
    let first = version(&key);
    assert!((0..100).all(|_| version(&key) == first));
    stage.balancer.publish_nodes([versioned(1)], []);
    assert_eq!(version(&Options::new()), "1.0");
}

#[test]
fn canary_weights_that_make_no_sense_are_refused_by_name() {
    for (wrong, says) in [
        (Canary::weights([("a", -1.0)]), "version `a` is -1"),
        (Canary::weights([("a", f64::NAN)]), "version `a` is NaN"),
        (
            Canary::weights([("a", f64::INFINITY)]),
            "version `a` is inf",
        ),
        (Canary::weights([("a", 0.0), ("b", 0.0)]), "all 0"),
        (Canary::weights([("a", 1.0), ("a", 2.0)]), "twice"),
        (Canary::weights(Vec::<(String, f64)>::new()), "all 0"),
        (Canary::share("b", 1.5), "version `b` is 1.5"),
        (Canary::share("b", f64::NAN), "version `b` is NaN"),
    ] {
        let error = wrong.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let service = ServiceName::new("orders").expect("name");
    for (rules, says) in [
        (
            Rules::new().with_ejection(Ejection::new().with_consecutive(0)),
            "0 failures in a row",
        ),
        (
            Rules::new().with_ejection(Ejection::new().with_window(5, 3)),
            "5 failures of 3",
        ),
        (
            Rules::new().with_ejection(Ejection::new().with_window(5, 100)),
            "at most 64",
        ),
        (
            Rules::new().with_ejection(Ejection::new().with_base(Duration::ZERO)),
            "base of 0ns",
        ),
        (
            Rules::new().with_ejection(Ejection::new().with_most(f64::NAN)),
            "NaN of the nodes",
        ),
        (
            Rules::new().with_prefer(Prefer::Nearest { within: 0.5 }),
            "within is 0.5",
        ),
    ] {
        let error = Balancer::new(service.clone(), rules)
            .expect_err(says)
            .to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = "p2c_ewm"
        .parse::<Strategy>()
        .expect_err("no such strategy")
        .to_string();
    assert!(
        error.contains("`p2c_ewm` (did you mean `p2c_ewma`?)"),
        "{error}"
    );
    assert!("round-robin".parse::<Strategy>().is_ok());
}

#[test]
fn filters_hold_for_each_pick_and_say_whom_they_turned_away() {
    let mut special = named("special").with_version("2.0");
    special.endpoints.push(Endpoint::new("Orders.Pay"));
    let mut live = nodes(4);
    live.push(Arc::new(special));
    live.push(labelled("east", ZONE, "east"));
    let stage = Stage::of(Strategy::P2cEwma, 0);
    stage.balancer.publish_nodes(live, []);
    for (filter, id) in [
        (Filter::version("2.0"), "special"),
        (Filter::endpoint("Orders.Pay"), "special"),
        (Filter::zone("east"), "east"),
        (
            Filter::custom("third", |one| one.node.id.as_str() == "n3"),
            "n3",
        ),
    ] {
        let filters = [filter];
        for _ in 0..20 {
            let pick = stage
                .balancer
                .pick(&Options::new().with_filters(&filters))
                .expect("one");
            assert_eq!(pick.node().id().as_str(), id);
        }
    }
    let filters = [Filter::version("1.0"), Filter::zone("west")];
    let error = stage
        .balancer
        .pick(&Options::new().with_filters(&filters))
        .expect_err("none");
    let counts: Vec<_> = error.filtered().collect();
    assert_eq!(counts, [("version=1.0", 1), ("zone=west", 5)]);
    assert_eq!(
        error.to_string(),
        "service `orders`: none of 6 nodes can be picked: 1 fail version=1.0, 5 fail zone=west"
    );
    let rules = Rules::new().with_filter(Filter::version("3.0"));
    let strict = Stage::new(rules, nodes(3));
    let error = strict.balancer.pick(&Options::new()).expect_err("none");
    assert_eq!(error.filtered().collect::<Vec<_>>(), [("version=3.0", 3)]);
    strict.balancer.publish_nodes([], []);
    let error = strict.balancer.pick(&Options::new()).expect_err("none");
    assert!(error.is_empty());
    assert_eq!(error.to_string(), "service `orders` has no live node");
}

#[test]
fn five_failures_in_a_row_eject_and_one_probe_brings_back() {
    let stage = Stage::of(Strategy::RoundRobin, 4);
    stage.fail("n0", 4);
    stage
        .balancer
        .mark(&NodeId::new("n0").expect("id"), Outcome::SUCCESS);
    stage.fail("n0", 4);
    assert!(!stage.is_out("n0"));
    stage.fail("n0", 1);
    assert_eq!(stage.shares(40).len(), 3);
    stage.pass(29_000);
    assert_eq!(stage.shares(40).len(), 3);
    // After its time exactly one call tries it. It fails: out again, for twice as long.
    stage.pass(5_000);
    let one = Options::new().with_probing(false);
    assert!((0..40).all(|_| stage.balancer.pick(&one).expect("one").node().id().as_str() != "n0"));
    let picks: Vec<Pick> = (0..40).map(|_| stage.pick()).collect();
    let probes: Vec<&Pick> = picks.iter().filter(|pick| pick.is_probe()).collect();
    assert_eq!(probes.len(), 1);
    assert_eq!(probes[0].node().id().as_str(), "n0");
    for pick in picks {
        let outcome = if pick.is_probe() {
            Outcome::FAILURE
        } else {
            Outcome::SUCCESS
        };
        pick.mark(outcome);
    }
    stage.pass(40_000);
    assert_eq!(stage.shares(40).len(), 3);
    stage.pass(30_000);
    // One that gave up decides nothing; the next call is the probe.
    drop(
        (0..4)
            .map(|_| stage.pick())
            .find(Pick::is_probe)
            .expect("a probe"),
    );
    assert!(
        stage.shares(40)["n0"] > 8,
        "the first success brings it back"
    );
}

#[test]
fn a_window_of_results_ejects_too() {
    let rules = Rules::new().with_ejection(Ejection::never().with_window(3, 10));
    let stage = Stage::new(rules.with_strategy(Strategy::Random), nodes(4));
    let id = NodeId::new("n2").expect("id");
    for _ in 0..2 {
        stage.balancer.mark(&id, Outcome::FAILURE);
        for _ in 0..4 {
            stage.balancer.mark(&id, Outcome::SUCCESS);
        }
    }
    stage.balancer.mark(&id, Outcome::FAILURE);
    assert!(!stage.is_out("n2"), "the first is eleven results ago");
    stage.balancer.mark(&id, Outcome::FAILURE);
    assert!(stage.is_out("n2"));
    assert_eq!(stage.shares(100).len(), 3);
}

#[test]
fn at_most_half_are_ejected_and_beyond_that_all_are_called() {
    let stage = Stage::of(Strategy::Random, 5);
    stage.fail("n0", 5);
    stage.fail("n1", 5);
    assert_eq!(stage.shares(200).len(), 3);
    stage.fail("n2", 5);
    let held: Vec<Pick> = (0..200).map(|_| stage.pick()).collect();
    let ids: HashSet<&str> = held.iter().map(|pick| pick.node().id().as_str()).collect();
    assert_eq!(ids.len(), 5, "panic");
    for pick in held {
        pick.mark(Outcome::SUCCESS);
    }
    // Answers in panic bring nodes back, and with them the rule.
    assert!(!stage.balancer.explain().panic);
    let lone = Stage::of(Strategy::Random, 1);
    lone.fail("n0", 50);
    assert_eq!(lone.id(), "n0");
    let pair = Stage::of(Strategy::Random, 2);
    pair.fail("n0", 5);
    assert_eq!(pair.shares(50).len(), 1);
}

#[test]
fn an_unreachable_node_is_left_out_at_once_and_tried_soon() {
    let stage = Stage::of(Strategy::RoundRobin, 3);
    let node = stage.balancer.nodes()[1].clone();
    stage.balancer.unreachable(&node);
    assert_eq!(stage.shares(30).len(), 2);
    stage.balancer.reachable(&node);
    assert_eq!(stage.shares(30).len(), 3);
    // Not counted for the half that may be ejected; and somebody is left in any case.
    for node in stage.balancer.nodes() {
        stage.balancer.unreachable(&node);
    }
    let held: Vec<Pick> = (0..30).map(|_| stage.pick()).collect();
    let ids: HashSet<&str> = held.iter().map(|pick| pick.node().id().as_str()).collect();
    assert_eq!(ids.len(), 3);
    drop(held);
    stage.balancer.reset();
    stage.pass(1_000);
    for node in &stage.balancer.nodes()[..2] {
        stage.balancer.unreachable(node);
    }
    assert_eq!(stage.shares(30).len(), 1);
    stage.pass(1_200);
    let held: Vec<Pick> = (0..30).map(|_| stage.pick()).collect();
    let probes: Vec<Pick> = held.into_iter().filter(Pick::is_probe).collect();
    assert_eq!(probes.len(), 2, "tried after a second");
    for probe in probes {
        probe.mark(Outcome::SUCCESS);
    }
    assert_eq!(stage.shares(30).len(), 3);
}

#[test]
fn who_asks_for_a_pause_has_it() {
    let stage = Stage::of(Strategy::Random, 4);
    let resting = stage.pick();
    let id = resting.node().id().to_string();
    let pause = Duration::from_secs(2);
    resting.mark(Outcome::SUCCESS.with_retry_after(pause));
    assert_eq!(stage.shares(100).get(&id), None);
    stage.pass(1_900);
    assert_eq!(stage.shares(100).get(&id), None);
    stage.pass(200);
    assert_eq!(stage.shares(100).len(), 4);
    let forever = stage.pick();
    forever.mark(Outcome::SUCCESS.with_retry_after(Duration::from_secs(1 << 40)));
    stage.pass(61_000);
    assert_eq!(stage.shares(100).len(), 4, "a minute is believed at most");
}

#[test]
fn attempts_of_one_call_go_to_different_nodes_and_then_to_the_fallback() {
    let stage = Stage::of(Strategy::P2cEwma, 3);
    let old = Arc::new(named("old"));
    stage.balancer.publish_nodes(nodes(3), [old]);
    for _ in 0..50 {
        let mut next = stage.balancer.select(Options::new());
        let picks: Vec<Pick> = (0..5).map(|_| next.next().expect("a node")).collect();
        let mut ids: Vec<&str> = picks[..3]
            .iter()
            .map(|one| one.node().id().as_str())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, ["n0", "n1", "n2"]);
        assert_eq!(picks[3].node().id().as_str(), "old");
        assert!(picks[3].why().fallback);
        assert!(next.is_repeat(&picks[4]) && !next.is_repeat(&picks[3]));
    }
}

#[test]
fn calls_stay_in_the_zone_until_too_little_of_it_is_left() {
    let zoned = |id: usize| {
        let zone = if id < 10 { "east" } else { "west" };
        labelled(&format!("n{id}"), ZONE, zone)
    };
    let rules = Rules::new()
        .with_strategy(Strategy::Random)
        .with_prefer(Prefer::zone("east"));
    let stage = Stage::new(rules, (0..20).map(zoned).collect());
    let east = || {
        let shares = stage.shares(10_000);
        let own = shares.iter().filter(|(id, _)| id.len() == 2);
        own.map(|(_, count)| count).sum::<usize>()
    };
    assert_eq!(east(), 10_000);
    let all = stage.balancer.nodes();
    for node in &all[..3] {
        stage.balancer.unreachable(node);
    }
    assert_eq!(east(), 10_000, "seven of ten are enough");
    for node in &all[3..6] {
        stage.balancer.unreachable(node);
    }
    let left = east();
    assert!(
        (5_400..6_000).contains(&left),
        "4/10/0.7 of 10 000, not {left}"
    );
    for node in &all[6..10] {
        stage.balancer.unreachable(node);
    }
    assert_eq!(east(), 0);
}

#[test]
fn the_nearest_get_the_calls_and_the_others_stay_measured() {
    let rules = Rules::new().with_prefer(Prefer::nearest());
    let stage = Stage::new(rules, nodes(6));
    let mut far = 0;
    for round in 0..6_000 {
        let pick = stage.pick();
        let distant = pick.node().id().as_str() > "n2";
        stage.pass(if distant { 50 } else { 10 });
        pick.mark(Outcome::SUCCESS);
        far += usize::from(round >= 1000 && distant);
    }
    assert!((50..200).contains(&far), "{far} of 5000 to the far ones");
}

#[test]
fn a_strategy_of_ones_own_may_itself_pick() {
    let other = Stage::of(Strategy::Random, 2);
    let inner = other.balancer.clone();
    let last = move |nodes: &[Candidate<'_>], _: Option<Key>| {
        inner
            .pick(&Options::new())
            .expect("a node")
            .mark(Outcome::SUCCESS);
        Some(nodes.len() - 1)
    };
    let stage = Stage::of(Strategy::custom(last), 3);
    assert_eq!(stage.shares(10)["n2"], 10);
    let none = |_: &[Candidate<'_>], _: Option<Key>| None;
    let refusing = Stage::of(Strategy::custom(none), 3);
    let error = refusing
        .balancer
        .pick(&Options::new())
        .expect_err("refused");
    assert!(
        error
            .to_string()
            .ends_with("3 were refused by the strategy"),
        "{error}"
    );
}

#[test]
fn a_pick_explains_itself_and_the_whole() {
    let canary = Canary::share("2.0", 0.25).expect("share");
    let stage = Stage::new(Rules::new().with_canary(canary), nodes(3));
    let pick = stage.pick();
    assert!(
        pick.why().to_string().contains("by p2c_ewma among 3 of 3"),
        "{}",
        pick.why()
    );
    drop(pick);
    let node = stage.balancer.nodes()[0].clone();
    stage.balancer.unreachable(&node);
    let all = stage.balancer.explain();
    let text = serde_json::to_string(&all).expect("json");
    assert!(
        text.contains("no connection could be made; for 1."),
        "{text}"
    );
    assert_eq!(all.nodes[1].share, 0.5);
}

#[test]
fn what_a_thread_kept_is_let_go_when_its_balancer_is() {
    let stage = Stage::of(Strategy::P2cEwma, 3);
    drop(stage.pick());
    let kept = Arc::downgrade(stage.balancer.nodes()[0].instance());
    drop(stage);
    drop(Stage::of(Strategy::Random, 1).pick());
    assert!(kept.upgrade().is_none());
}

#[test]
fn what_a_thread_kept_is_let_go_when_it_ends() {
    for strategy in [Strategy::Random, Strategy::P2cEwma] {
        let stage = Stage::of(strategy, 3);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| drop((stage.pick(), stage.pick())));
            thread.join().expect("picks");
        });
        let kept = Arc::downgrade(stage.balancer.nodes()[0].instance());
        drop(stage);
        assert!(kept.upgrade().is_none());
    }
}

#[test]
fn any_number_of_balancers_is_picked_from_in_any_order() {
    let strategies = [Strategy::Random, Strategy::RoundRobin, Strategy::LeastConn];
    let strategies = strategies.iter().cycle().take(21);
    let stages: Vec<(Stage, HashSet<String>)> = strategies
        .enumerate()
        .map(|(number, strategy)| {
            let ids: Vec<String> = (0..3).map(|node| format!("{number}-{node}")).collect();
            let nodes = ids.iter().map(|id| Arc::new(named(id))).collect();
            let mut rules = Rules::new().with_strategy(strategy.clone());
            rules.count = number % 2 == 0;
            (Stage::new(rules, nodes), ids.into_iter().collect())
        })
        .collect();
    for round in 0..4 {
        let mut picks: Vec<Pick> = Vec::new();
        for (stage, ids) in &stages {
            let three: Vec<Pick> = (0..3).map(|_| stage.pick()).collect();
            let found: HashSet<String> = three
                .iter()
                .map(|pick| pick.node().id().to_string())
                .collect();
            assert!(found.is_subset(ids), "{found:?} of {ids:?}");
            if matches!(stage.balancer.rules().strategy, Strategy::RoundRobin) {
                assert_eq!(found.len(), 3, "round {round}: {found:?}");
            }
            picks.extend(three);
        }
        picks.rotate_left(round * 20);
        drop(picks);
    }
    for (stage, _) in &stages {
        let shown = stage.balancer.explain();
        assert!(
            shown.nodes.iter().all(|node| node.in_flight == 0),
            "{shown:?}"
        );
    }
}

#[test]
fn an_extension_stays_with_the_node_until_its_address_changes() {
    let stage = Stage::of(Strategy::Random, 1);
    assert_eq!(stage.pick().node().extension(|| 7_u32), Some(&7));
    stage
        .balancer
        .publish_nodes([Arc::new(named("n0").with_version("9"))], []);
    let pick = stage.pick();
    assert_eq!(pick.instance().version, "9");
    assert_eq!(pick.node().extension(|| 8_u32), Some(&7));
    assert_eq!(pick.node().extension(|| 8_u64), None);
    let mut moved = named("n0");
    moved.node.address = Address::new("10.9.9.9:1").expect("address");
    stage.balancer.publish_nodes([Arc::new(moved)], []);
    assert_eq!(stage.pick().node().extension(|| 9_u32), Some(&9));
}

#[test]
fn a_pick_may_end_on_another_thread_while_nodes_come_and_go() {
    fn assert_owned<T: Send + 'static>(_: &T) {}
    let service = ServiceName::new("orders").expect("name");
    let balancer = Balancer::new(service, Rules::new()).expect("rules");
    balancer.publish_nodes(nodes(10), []);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::sync_channel::<Pick>(64);
        for _ in 0..2 {
            let (send, balancer, stop) = (send.clone(), balancer.clone(), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let pick = balancer.pick(&Options::new()).expect("a node");
                    assert_owned(&pick);
                    let _ = send.send(pick);
                }
            });
        }
        drop(send);
        scope.spawn(move || {
            for (round, pick) in receive.into_iter().enumerate() {
                pick.mark(if round % 50 == 0 {
                    Outcome::FAILURE
                } else {
                    Outcome::SUCCESS
                });
            }
        });
        for round in 0..500 {
            balancer.publish_nodes(nodes(5 + round % 10), []);
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let shown = balancer.explain();
    assert!(
        shown.nodes.iter().all(|node| node.in_flight == 0),
        "{shown:?}"
    );
}
