//! Laws of the memory registry that the common suite does not look at: exact moments, cost, and
//! what is left behind.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test lets pass the time that plugins do not keep, and fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};
use waypost_core::{
    Address, BoxWatcher, Change, ErrorKind, Event, Instance, Lease, Node, NodeId, RegisterOptions,
    Registry, ServiceName, WatchScope,
};
use waypost_memory::MemoryRegistry;

const TTL: Duration = Duration::from_secs(3);

fn instance(service: &str, node: &str) -> Instance {
    let node = Node::new(
        NodeId::new(node).expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    Instance::new(ServiceName::new(service).expect("name"), node)
}

async fn register(registry: &MemoryRegistry, instance: &Instance) -> Box<dyn Lease> {
    let options = RegisterOptions::new(TTL);
    registry
        .register(instance, options)
        .await
        .expect("register")
}

async fn watch(registry: &MemoryRegistry, scope: WatchScope) -> BoxWatcher {
    registry.watch(scope).await.expect("watch")
}

async fn next(watcher: &mut BoxWatcher) -> Event {
    watcher.next().await.expect("event").expect("no error")
}

fn upsert(instance: &Instance) -> Event {
    Event::Changed(vec![Change::Upsert(Arc::new(instance.clone()))])
}

fn remove(instance: &Instance) -> Event {
    Event::Changed(vec![Change::Remove(instance.key())])
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_is_told_at_its_deadline_and_never_looked_up_after_it() {
    let registry = MemoryRegistry::new();
    let mut watcher = watch(&registry, WatchScope::All).await;
    assert_eq!(next(&mut watcher).await, Event::Snapshot(Vec::new()));
    let orders = instance("orders", "a");
    let start = Instant::now();
    let lease = register(&registry, &orders).await;
    assert_eq!(next(&mut watcher).await, upsert(&orders));

    sleep(TTL - Duration::from_millis(1)).await;
    assert_eq!(
        registry
            .lookup(&orders.service)
            .await
            .expect("lookup")
            .len(),
        1
    );
    assert_eq!(next(&mut watcher).await, remove(&orders));
    assert!(
        start.elapsed() <= TTL + Duration::from_millis(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(registry.lookup(&orders.service).await.expect("lookup"), []);
    assert_eq!(registry.services().await.expect("services"), []);
    assert_eq!(lease.lost().await.kind(), ErrorKind::LeaseLost);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_all_others_is_not_slept_through() {
    let registry = MemoryRegistry::new();
    let _long = register(&registry, &instance("orders", "long")).await;
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    let options = RegisterOptions::new(Duration::from_millis(100));
    let short = registry
        .register(&instance("orders", "short"), options)
        .await;
    assert_eq!(
        short.expect("register").lost().await.kind(),
        ErrorKind::LeaseLost
    );
    assert!(
        start.elapsed() <= Duration::from_millis(102),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lookup_is_exact_even_if_the_timer_did_not_run() {
    let registry = MemoryRegistry::new();
    let orders = instance("orders", "a");
    let _lease = register(&registry, &orders).await;
    // Time moves without a chance for any task to run.
    tokio::time::advance(TTL).await;
    let found = registry.lookup(&orders.service).now_or_never();
    assert_eq!(found.expect("at once").expect("lookup"), []);
}

#[tokio::test(start_paused = true)]
async fn renewals_keep_a_record_and_a_late_one_does_not_bring_it_back() {
    let registry = MemoryRegistry::new();
    let orders = instance("orders", "a");
    let mut lease = register(&registry, &orders).await;
    for _ in 0..10 {
        sleep(TTL - Duration::from_millis(1)).await;
        lease.renew().await.expect("renew");
    }
    assert!(lease.lost().now_or_never().is_none());
    sleep(TTL).await;
    assert_eq!(
        lease.renew().await.expect_err("late").kind(),
        ErrorKind::LeaseLost
    );
    assert_eq!(registry.lookup(&orders.service).await.expect("lookup"), []);
}

#[tokio::test(start_paused = true)]
async fn the_former_owner_touches_nothing_of_its_successor() {
    let registry = MemoryRegistry::new();
    let orders = instance("orders", "a");
    let mut former = register(&registry, &orders).await;
    let _present = register(&registry, &orders).await;
    assert_eq!(former.lost().await.kind(), ErrorKind::LeaseLost);
    assert_eq!(
        former.renew().await.expect_err("lost").kind(),
        ErrorKind::LeaseLost
    );
    let update = former.update(&orders.clone().with_version("2")).await;
    assert_eq!(update.expect_err("lost").kind(), ErrorKind::LeaseLost);
    former.revoke().await.expect("revoke");
    assert_eq!(
        registry.lookup(&orders.service).await.expect("lookup"),
        [orders]
    );
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_is_not_told() {
    let registry = MemoryRegistry::new();
    let orders = instance("orders", "a");
    let mut lease = register(&registry, &orders).await;
    let mut watcher = watch(&registry, WatchScope::Service(orders.service.clone())).await;
    next(&mut watcher).await;
    lease.update(&orders).await.expect("update");
    lease.renew().await.expect("renew");
    let mut lease = register(&registry, &orders).await;
    register(&registry, &instance("users", "a")).await;
    assert!(watcher.next().now_or_never().is_none());
    let changed = orders.clone().with_version("2");
    lease.update(&changed).await.expect("update");
    assert_eq!(next(&mut watcher).await, upsert(&changed));
    registry
        .deregister(&orders.key())
        .await
        .expect("deregister");
    assert_eq!(next(&mut watcher).await, remove(&orders));
}

#[tokio::test(start_paused = true)]
async fn records_that_expire_together_are_told_together() {
    let registry = MemoryRegistry::new();
    for n in 0..100 {
        register(&registry, &instance("orders", &format!("n{n}"))).await;
    }
    let mut watcher = watch(&registry, WatchScope::All).await;
    assert!(matches!(next(&mut watcher).await, Event::Snapshot(all) if all.len() == 100));
    assert!(matches!(next(&mut watcher).await, Event::Changed(changes) if changes.len() == 100));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_ends_with_the_right_state() {
    let registry = MemoryRegistry::new();
    let mut watcher = watch(&registry, WatchScope::All).await;
    next(&mut watcher).await;
    for n in 0..5000 {
        let one = instance("orders", &format!("n{n}"));
        let lease = register(&registry, &one).await;
        if n != 4999 {
            lease.revoke().await.expect("revoke");
        }
    }
    let mut seen = Vec::new();
    while let Some(event) = watcher.next().now_or_never() {
        seen.push(event.expect("event").expect("no error"));
    }
    assert!(seen.len() <= 1026, "{}", seen.len());
    assert_eq!(seen.last(), Some(&upsert(&instance("orders", "n4999"))));
}

#[tokio::test]
async fn clones_share_records_and_a_closed_registry_ends_its_watches() {
    let registry = MemoryRegistry::new();
    let clone = registry.clone();
    let orders = instance("orders", "a");
    let lease = register(&registry, &orders).await;
    assert_eq!(
        clone.lookup(&orders.service).await.expect("lookup").len(),
        1
    );
    let mut watcher = watch(&clone, WatchScope::All).await;
    next(&mut watcher).await;
    drop((registry, clone, lease));
    let end = watcher.next().await.expect("event").expect_err("closed");
    assert_eq!(end.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused() {
    let registry = MemoryRegistry::new();
    let orders = instance("orders", "a");
    let short = RegisterOptions::new(Duration::from_millis(99));
    let error = registry.register(&orders, short).await.expect_err("short");
    assert_eq!(
        error.to_string(),
        "memory: register orders/a: a ttl of 99ms is too short; at least 100ms is needed"
    );
    let endless = RegisterOptions::new(Duration::MAX);
    let mut lease = registry
        .register(&orders, endless)
        .await
        .expect("granted less");
    assert!(lease.ttl() < Duration::MAX);
    let other = lease.update(&instance("orders", "b")).await;
    assert_eq!(other.expect_err("other key").kind(), ErrorKind::Config);
}

#[test]
fn the_timer_outlives_the_runtime_that_it_began_on() {
    let registry = MemoryRegistry::new();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("runtime")
    };
    runtime().block_on(register(&registry, &instance("orders", "a")));
    runtime().block_on(async {
        registry
            .deregister(&instance("orders", "a").key())
            .await
            .expect("deregister");
        let lease = register(&registry, &instance("orders", "b")).await;
        assert_eq!(lease.lost().await.kind(), ErrorKind::LeaseLost);
    });
}

#[tokio::test]
async fn one_change_among_ten_thousand_costs_little() {
    let registry = MemoryRegistry::new();
    for n in 0..10_000 {
        register(
            &registry,
            &instance(&format!("s{}", n % 100), &format!("n{n}")),
        )
        .await;
    }
    let mut watchers = Vec::new();
    for n in 0..100 {
        let name = ServiceName::new(&format!("s{n}")).expect("name");
        watchers.push(watch(&registry, WatchScope::Service(name)).await);
    }
    for watcher in &mut watchers {
        next(watcher).await;
    }
    let began = Instant::now();
    for n in 0..1000 {
        let changed = instance("s7", "n7").with_version(n.to_string());
        register(&registry, &changed).await;
        assert_eq!(next(&mut watchers[7]).await, upsert(&changed));
    }
    // A listing of ten thousand a change would take seconds.
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}
