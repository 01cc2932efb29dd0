//! Whatever comes: somebody is picked while anybody is there.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Nodes, Stage, named};
use crate::{Options, Outcome};

#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<u8>, Vec<u8>),
    Call(u8),
    Unreachable(u8),
    Reachable(u8),
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || proptest::collection::vec(0_u8..12, 0..8);
    let step = prop_oneof![
        (ids(), ids()).prop_map(|(live, kept)| Step::Publish(live, kept)),
        (0_u8..4).prop_map(Step::Call),
        (0_u8..12).prop_map(Step::Unreachable),
        (0_u8..12).prop_map(Step::Reachable),
        (0_u32..100_000).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever was published and whatever failed: a pick is one of the live nodes (or of those
    /// kept, when there is none), there is one as long as anybody is there, and nothing stays
    /// counted as under way.
    #[test]
    fn somebody_is_picked_while_anybody_is_there(strategy in 0_usize..6, steps in steps()) {
        let strategies = ["random", "round_robin", "weighted", "least_conn", "p2c_ewma", "consistent_hash"];
        let stage = Stage::of(strategies[strategy].parse().expect("a name"), 3);
        let (mut live, mut kept): (Vec<u8>, Vec<u8>) = (vec![0, 1, 2], Vec::new());
        for step in steps {
            match step {
                Step::Publish(mut all, mut rest) => {
                    all.sort_unstable();
                    all.dedup();
                    rest.sort_unstable();
                    rest.dedup();
                    rest.retain(|one| !all.contains(one));
                    let of = |ids: &[u8]| -> Nodes {
                        ids.iter().map(|id| Arc::new(named(&format!("n{id}")))).collect()
                    };
                    stage.balancer.publish_nodes(of(&all), of(&rest));
                    (live, kept) = (all, rest);
                }
                Step::Call(result) => match stage.balancer.pick(&Options::new()) {
                    Ok(pick) => {
                        let from = if live.is_empty() { &kept } else { &live };
                        let id = pick.node().id().to_string();
                        prop_assert!(from.iter().any(|one| format!("n{one}") == id), "{id} of {from:?}");
                        match result {
                            0 => pick.mark(Outcome::SUCCESS),
                            1 => pick.mark(Outcome::FAILURE),
                            2 => pick.mark(Outcome::FAILURE.with_retry_after(Duration::from_secs(5))),
                            _ => drop(pick),
                        }
                    }
                    Err(error) => prop_assert!(live.is_empty() && kept.is_empty(), "{error}"),
                },
                Step::Unreachable(id) | Step::Reachable(id) => {
                    let name = format!("n{id}");
                    let node = stage.balancer.nodes().into_iter().find(|one| one.id().as_str() == name);
                    match (node, step) {
                        (Some(node), Step::Unreachable(_)) => stage.balancer.unreachable(&node),
                        (Some(node), _) => stage.balancer.reachable(&node),
                        (None, _) => {}
                    }
                }
                Step::Pass(milliseconds) => stage.pass(milliseconds.into()),
            }
        }
        prop_assert!(stage.balancer.explain().nodes.iter().all(|node| node.in_flight == 0));
    }
}
