//! The memory registry against a model that is too simple to be wrong.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use waypost_core::{
    Address, Event, Instance, InstanceKey, Lease, Node, NodeId, RegisterOptions, Registry,
    ServiceName, WatchScope,
};
use waypost_memory::MemoryRegistry;
use waypost_plugin_kit::Known;

#[derive(Debug, Clone)]
enum Step {
    Register { node: u8, version: u8, ttl: u64 },
    Renew(usize),
    Update(usize, u8),
    Revoke(usize),
    Deregister(u8),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..3u8, 100..400u64)
            .prop_map(|(node, version, ttl)| Step::Register { node, version, ttl }),
        3 => (0..8usize).prop_map(Step::Renew),
        2 => (0..8usize, 0..3u8).prop_map(|(lease, version)| Step::Update(lease, version)),
        1 => (0..8usize).prop_map(Step::Revoke),
        1 => (0..4u8).prop_map(Step::Deregister),
        4 => (1..300u64).prop_map(Step::Pass),
    ]
}

fn instance(node: u8, version: u8) -> Instance {
    let node = Node::new(
        NodeId::new(&format!("n{node}")).expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    Instance::new(ServiceName::new("orders").expect("name"), node).with_version(version.to_string())
}

/// Key to instance, lease number and deadline.
#[derive(Default)]
struct Model(BTreeMap<InstanceKey, (Instance, usize, Instant)>);

impl Model {
    fn owned(&mut self, lease: usize) -> Option<&mut (Instance, usize, Instant)> {
        self.0.values_mut().find(|record| record.1 == lease)
    }
}

type Leases = Vec<Option<(Box<dyn Lease>, u8)>>;

async fn perform(step: Step, registry: &MemoryRegistry, leases: &mut Leases, model: &mut Model) {
    let now = Instant::now();
    match step {
        Step::Register { node, version, ttl } => {
            let (one, ttl) = (instance(node, version), Duration::from_millis(ttl));
            let options = RegisterOptions::new(ttl);
            let lease = registry.register(&one, options).await.expect("register");
            model.0.insert(one.key(), (one, leases.len(), now + ttl));
            leases.push(Some((lease, node)));
        }
        Step::Renew(n) => {
            if let Some(Some((lease, _))) = leases.get_mut(n) {
                let renewed = lease.renew().await.is_ok();
                let record = model.owned(n);
                assert_eq!(renewed, record.is_some());
                if let Some(record) = record {
                    record.2 = now + lease.ttl();
                }
            }
        }
        Step::Update(n, version) => {
            if let Some(Some((lease, node))) = leases.get_mut(n) {
                let one = instance(*node, version);
                let updated = lease.update(&one).await.is_ok();
                let record = model.owned(n);
                assert_eq!(updated, record.is_some());
                if let Some(record) = record {
                    record.0 = one;
                }
            }
        }
        Step::Revoke(n) => {
            if let Some((lease, _)) = leases.get_mut(n).and_then(Option::take) {
                lease.revoke().await.expect("revoke");
                model.0.retain(|_, record| record.1 != n);
            }
        }
        Step::Deregister(node) => {
            let key = instance(node, 0).key();
            registry.deregister(&key).await.expect("deregister");
            model.0.remove(&key);
        }
        Step::Pass(millis) => advance(Duration::from_millis(millis)).await,
    }
    model.0.retain(|_, record| record.2 > Instant::now());
}

async fn run(steps: Vec<Step>) {
    let registry = MemoryRegistry::new();
    let mut watcher = registry.watch(WatchScope::All).await.expect("watch");
    let (mut leases, mut model, mut follower) = (Vec::new(), Model::default(), Known::new());
    for step in steps {
        perform(step, &registry, &mut leases, &mut model).await;
        // A task that never yields is told "not yet" by Tokio's budget sooner or later.
        tokio::task::yield_now().await;
        let expected: Vec<_> = model.0.values().map(|record| record.0.clone()).collect();
        let name = ServiceName::new("orders").expect("name");
        assert_eq!(registry.lookup(&name).await.expect("lookup"), expected);
        while let Some(event) = watcher.next().now_or_never() {
            match event.expect("open").expect("no error") {
                Event::Snapshot(all) => assert!(all.is_empty()),
                Event::Changed(changes) => {
                    for change in changes {
                        assert!(follower.apply(&change), "{change:?} changes nothing");
                    }
                }
                Event::Confirmed => {}
            }
        }
        assert_eq!(follower, expected.into_iter().collect());
        for (n, lease) in leases.iter().enumerate() {
            if let Some((lease, _)) = lease {
                let lost = lease.lost().now_or_never().is_some();
                assert_eq!(lost, model.owned(n).is_none());
            }
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("runtime");
        runtime.block_on(run(steps));
    }
}
