use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::fake::{FakeRegistry, Fault, instance};
use crate::{Event, ServiceName};

fn orders() -> ServiceName {
    ServiceName::new("orders").expect("name")
}

fn directory(registry: &Arc<FakeRegistry>) -> Directory {
    let registry: Arc<dyn Registry> = Arc::clone(registry) as _;
    Directory::new(registry, DirectoryOptions::new())
}

fn seeded(nodes: usize) -> Arc<FakeRegistry> {
    let registry = FakeRegistry::new();
    for n in 0..nodes {
        registry.state.put(instance("orders", &format!("n{n}")));
    }
    registry
}

async fn until(followed: &Followed, wanted: impl Fn(&Followed) -> bool) {
    let reached = async {
        while !wanted(followed) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(120), reached)
        .await
        .expect("reaches the state");
}

#[tokio::test(start_paused = true)]
async fn changes_reach_every_reader_through_one_watch() {
    let registry = seeded(3);
    let directory = directory(&registry);
    let first = (0..100).map(|_| directory.follow(orders()));
    let all: Vec<Followed> = futures_util::future::join_all(first)
        .await
        .into_iter()
        .collect::<Result<_>>()
        .expect("followed");
    assert_eq!(registry.state.watches.load(Ordering::SeqCst), 1);
    registry.state.put(instance("orders", "new"));
    registry.state.remove(&instance("orders", "n0").key());
    for mut followed in all {
        until(&followed, |followed| followed.members().version() == 3).await;
        assert_eq!(followed.changed().await.len(), 3);
        assert_eq!(followed.freshness(), Freshness::Live);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_registry_empties_nothing_and_missed_deletions_are_made_good() {
    let registry = seeded(5);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    for fault in [
        Fault::Fail(ErrorKind::Unavailable),
        Fault::Fail(ErrorKind::Denied),
        Fault::Fail(ErrorKind::Corrupt),
        Fault::Hang,
    ] {
        registry.state.put(instance("orders", "gone"));
        until(&followed, |followed| followed.members().len() == 6).await;
        registry.state.set_fault(Some(fault));
        registry.state.cut_watches();
        registry.state.remove(&instance("orders", "gone").key());
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(followed.members().len(), 6, "{fault:?}");
        assert!(matches!(followed.freshness(), Freshness::Stale { .. }));
        assert!(followed.error().is_some());
        registry.state.set_fault(None);
        let healed = Instant::now();
        until(&followed, |followed| {
            followed.freshness() == Freshness::Live
        })
        .await;
        assert!(healed.elapsed() <= Duration::from_secs(16), "{fault:?}");
        assert_eq!(followed.members().len(), 5);
        assert_eq!(followed.verify().await.expect("verify"), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_loses_events_is_made_good_by_the_relist() {
    let registry = seeded(2);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    let ghost = Arc::new(instance("orders", "ghost"));
    let lie = Event::Changed(vec![crate::Change::Upsert(ghost)]);
    registry.state.tell(lie);
    until(&followed, |followed| followed.members().len() == 3).await;
    assert_eq!(followed.verify().await.expect("verify").len(), 1);
    sleep(Duration::from_secs(80)).await;
    assert_eq!(followed.members().len(), 2);
    assert_eq!(registry.state.open_watchers(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_relist_that_is_behind_the_watch_shows_no_reader_older_content() {
    let registry = seeded(2);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    let newer = || {
        Event::Changed(vec![crate::Change::Upsert(Arc::new(
            instance("orders", "n1").with_version("2"),
        ))])
    };
    let sees_newer = || followed.members().live().any(|one| one.version == "2");
    // What the second watch begins with does not have it yet.
    registry.state.tell_only(0, newer());
    until(&followed, |_| sees_newer()).await;
    until(&followed, |_| registry.state.open_watchers() == 2).await;
    for _ in 0..50 {
        sleep(Duration::from_millis(10)).await;
        assert!(sees_newer());
    }
    registry.state.tell_only(1, newer());
    until(&followed, |_| registry.state.open_watchers() == 1).await;
    assert!(sees_newer());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_agrees_with_the_next_is_replaced_all_the_same() {
    let registry = seeded(2);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    let ghost = Arc::new(instance("orders", "ghost"));
    let lie = Event::Changed(vec![crate::Change::Upsert(ghost)]);
    registry.state.tell_only(0, lie);
    until(&followed, |_| registry.state.open_watchers() == 2).await;
    let opened = Instant::now();
    let mut version = 0;
    while registry.state.open_watchers() == 2 {
        version += 1;
        registry
            .state
            .put(instance("orders", "n1").with_version(version.to_string()));
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        opened.elapsed() <= Duration::from_millis(2200),
        "{:?}",
        opened.elapsed()
    );
    assert_eq!(followed.members().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_asks_for_a_pause_gets_it() {
    let registry = seeded(2);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    let fault = Fault::Busy(Duration::from_secs(4));
    registry.state.set_fault(Some(fault));
    registry.state.cut_watches();
    until(&followed, |followed| {
        followed.freshness() != Freshness::Live
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    let before = registry.state.watches.load(Ordering::SeqCst);
    sleep(Duration::from_secs(40)).await;
    let tries = registry.state.watches.load(Ordering::SeqCst) - before;
    assert!((7..=10).contains(&tries), "{tries} tries in 40 s");
    assert_eq!(followed.members().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_with_a_dead_registry_is_told_within_the_connect_timeout() {
    let registry = FakeRegistry::new();
    for (fault, kind) in [
        (Fault::Hang, ErrorKind::Unavailable),
        (Fault::Fail(ErrorKind::Unavailable), ErrorKind::Unavailable),
        (Fault::Fail(ErrorKind::Denied), ErrorKind::Denied),
    ] {
        registry.state.set_fault(Some(fault));
        let begun = Instant::now();
        let error = directory(&registry)
            .follow(orders())
            .await
            .expect_err("nothing is known");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(begun.elapsed() <= Duration::from_millis(2100));
    }
}

#[tokio::test]
async fn a_cold_start_is_served_from_the_disk_snapshot() {
    let folder = tempfile::tempdir().expect("folder");
    let registry = seeded(3);
    let shared: Arc<dyn Registry> = Arc::clone(&registry) as _;
    let options = DirectoryOptions::new().with_disk(folder.path());
    let directory = Directory::new(Arc::clone(&shared), options.clone());
    directory.follow(orders()).await.expect("follow");
    let file = folder.path().join("orders.snapshot.json");
    while !file.exists() {
        sleep(Duration::from_millis(20)).await;
    }
    drop(directory);

    registry
        .state
        .set_fault(Some(Fault::Fail(ErrorKind::Unavailable)));
    let directory = Directory::new(Arc::clone(&shared), options);
    let followed = directory.follow(orders()).await.expect("from disk");
    assert_eq!(followed.members().len(), 3);
    assert!(matches!(followed.freshness(), Freshness::Stale { .. }));
    registry.state.set_fault(None);
    registry.state.remove(&instance("orders", "n0").key());
    until(&followed, |followed| {
        followed.freshness() == Freshness::Live
    })
    .await;
    assert_eq!(followed.members().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_is_remembered_for_a_moment_and_then_let_go() {
    let registry = FakeRegistry::new();
    let directory = directory(&registry);
    let followed = directory.follow(orders()).await.expect("follow");
    assert!(followed.members().is_empty());
    let again = directory.follow(orders()).await.expect("follow");
    assert_eq!(registry.state.watches.load(Ordering::SeqCst), 1);
    drop((followed, again));
    sleep(Duration::from_secs(200)).await;
    assert_eq!(registry.state.open_watchers(), 0);
    assert!(directory.shared.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_directory_frees_its_watches() {
    let registry = seeded(1);
    let directory = directory(&registry);
    for round in 0..1000 {
        let name = ServiceName::new(&format!("s{round}")).expect("name");
        directory.follow(name).await.expect("follow");
    }
    assert_eq!(registry.state.open_watchers(), 1000);
    drop(directory);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(registry.state.open_watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mass_departure_leaves_a_fallback_until_the_window_has_passed() {
    let registry = seeded(10);
    let followed = directory(&registry).follow(orders()).await.expect("follow");
    for n in 0..10 {
        let key = instance("orders", &format!("n{n}")).key();
        registry.state.remove(&key);
        sleep(Duration::from_millis(100)).await;
        assert!(followed.members().candidates().count() >= 5);
    }
    assert_eq!(followed.members().len(), 0);
    assert_eq!(followed.members().fallback().count(), 10);
    sleep(Duration::from_secs(90)).await;
    assert!(followed.members().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_mass_departure_left_is_not_what_the_disk_remembers() {
    let folder = tempfile::tempdir().expect("folder");
    let registry = seeded(10);
    let shared: Arc<dyn Registry> = Arc::clone(&registry) as _;
    let options = DirectoryOptions::new().with_disk(folder.path());
    let followed = Directory::new(shared, options).follow(orders()).await;
    let followed = followed.expect("follow");
    let remembered = || {
        let bytes = std::fs::read(folder.path().join("orders.snapshot.json")).expect("file");
        disk::parse(&bytes, &orders().into()).expect("copy").len()
    };
    sleep(Duration::from_secs(3)).await;
    assert_eq!(remembered(), 10);
    for n in 0..10 {
        let key = instance("orders", &format!("n{n}")).key();
        registry.state.remove(&key);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!((followed.members().len(), remembered()), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn more_scopes_than_allowed_are_refused_and_disturb_none() {
    let registry = seeded(1);
    let shared: Arc<dyn Registry> = Arc::clone(&registry) as _;
    let mut options = DirectoryOptions::new();
    options.most = 2;
    let directory = Directory::new(shared, options);
    let name = |name: &str| ServiceName::new(name).expect("name");
    let first = directory.follow(orders()).await.expect("the first");
    let second = directory.follow(name("users")).await.expect("the second");
    let error = directory.follow(name("carts")).await.expect_err("a third");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
    let again = directory.follow(orders()).await.expect("known already");
    assert_eq!(again.members().len(), first.members().len());
    assert_eq!(registry.state.open_watchers(), 2);
    drop(second);
}

/// What is measured, by name and the value of its last label.
fn measured(snapshotter: &Snapshotter) -> HashMap<(String, String), f64> {
    let measured = snapshotter.snapshot().into_vec().into_iter();
    let named = measured.map(|(key, _, _, value)| {
        let label = key
            .key()
            .labels()
            .last()
            .map(|label| label.value().to_owned());
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => f64::NAN,
        };
        (
            (key.key().name().to_owned(), label.unwrap_or_default()),
            value,
        )
    });
    named.collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_events_and_staleness_are_measured() {
    let recorder = DebuggingRecorder::new();
    let _local = metrics::set_default_local_recorder(&recorder);
    let snapshotter = recorder.snapshotter();
    let registry = seeded(3);
    let directory = directory(&registry);
    let followed = directory.follow(orders()).await.expect("followed");
    registry.state.put(instance("orders", "new"));
    registry.state.remove(&instance("orders", "n0").key());
    registry.state.remove(&instance("orders", "n1").key());
    until(&followed, |followed| followed.members().len() == 2).await;
    let seen = measured(&snapshotter);
    let of =
        |name: &str, label: &str| seen[&(format!("waypost_registry_{name}"), label.to_owned())];
    assert_eq!((of("nodes", "live"), of("nodes", "fallback")), (2.0, 0.0));
    let kinds = ["snapshot", "upsert", "remove", "failure"];
    let events = kinds.map(|kind| of("events_total", kind));
    assert_eq!(events, [1.0, 1.0, 2.0, 0.0]);

    registry
        .state
        .set_fault(Some(Fault::Fail(ErrorKind::Unavailable)));
    registry.state.cut_watches();
    sleep(Duration::from_secs(60)).await;
    let stale = measured(&snapshotter)[&(
        "waypost_registry_staleness_seconds".to_owned(),
        "orders".to_owned(),
    )];
    assert!((50.0..=60.0).contains(&stale), "{stale}");
    registry.state.set_fault(None);
    sleep(Duration::from_secs(10)).await;
    let stale = measured(&snapshotter)[&(
        "waypost_registry_staleness_seconds".to_owned(),
        "orders".to_owned(),
    )];
    assert_eq!(stale, 0.0);
}
