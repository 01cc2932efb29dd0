use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep, timeout};

use super::*;
use crate::fake::{FakeRegistry, Fault, instance};

fn start(registry: &Arc<FakeRegistry>) -> Registration {
    let registry: Arc<dyn Registry> = Arc::clone(registry) as _;
    let options = RegistrationOptions::new().with_ttl(Duration::from_secs(30));
    Registration::start(registry, instance("orders", "a"), options).expect("start")
}

async fn until(registration: &Registration, state: State) {
    let mut standing = registration.standing();
    timeout(
        Duration::from_secs(60),
        standing.wait_for(|standing| standing.state == state),
    )
    .await
    .expect("reaches the state")
    .expect("the keeper lives");
}

/// Waits until an attempt had no answer.
async fn unanswered(registration: &Registration) {
    let mut standing = registration.standing();
    let told = |standing: &Standing| {
        let kind = standing.cause.as_ref().map(Error::kind);
        kind == Some(ErrorKind::Timeout)
    };
    standing.wait_for(told).await.expect("the keeper lives");
}

#[tokio::test(start_paused = true)]
async fn a_record_is_renewed_on_the_interval_until_released() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    sleep(Duration::from_secs(100)).await;
    let renews = registry.state.renews.load(Ordering::SeqCst);
    assert!((10..=13).contains(&renews), "{renews} in 100 s at 10 s");
    assert_eq!(registry.state.registers.load(Ordering::SeqCst), 1);

    registration.release().await.expect("release");
    assert!(!registry.state.has(&instance("orders", "a").key()));
    sleep(Duration::from_secs(100)).await;
    assert!(
        !registry.state.has(&instance("orders", "a").key()),
        "released is final"
    );
    assert_eq!(registry.state.renews.load(Ordering::SeqCst), renews);
}

#[tokio::test(start_paused = true)]
async fn a_record_deleted_behind_its_back_returns() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    let key = instance("orders", "a").key();

    registry.state.remove(&key);
    until(&registration, State::Lost).await;
    // Spread over half of the interval; no renewal is due yet that could find out.
    sleep(Duration::from_secs(6)).await;
    assert!(registry.state.has(&key), "the loss was told");
    assert_eq!(registry.state.renews.load(Ordering::SeqCst), 0);

    registry.state.tells_loss.store(false, Ordering::SeqCst);
    registry.state.remove(&key);
    // The same after the next renewal.
    sleep(Duration::from_secs(16)).await;
    assert!(registry.state.has(&key), "found out by the next renewal");
}

#[tokio::test(start_paused = true)]
async fn it_never_gives_up_and_heals_by_itself() {
    let registry = FakeRegistry::new();
    for fault in [
        Fault::Fail(ErrorKind::Unavailable),
        Fault::Fail(ErrorKind::Denied),
        Fault::Fail(ErrorKind::Internal),
        Fault::Hang,
    ] {
        let registration = start(&registry);
        registration.live().await.expect("live");
        registry.state.set_fault(Some(fault));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(
            registration.standing().borrow().state,
            State::Lost,
            "{fault:?}"
        );
        let key = instance("orders", "a").key();
        registry.state.set_fault(None);
        registry.state.remove(&key);
        let healed = Instant::now();
        until(&registration, State::Live).await;
        assert!(healed.elapsed() <= Duration::from_secs(10), "{fault:?}");
        assert!(registry.state.has(&key));
        registration.release().await.expect("release");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_registration_says_so_and_goes_on_trying() {
    let registry = FakeRegistry::new();
    registry
        .state
        .set_fault(Some(Fault::Fail(ErrorKind::Denied)));
    let registration = start(&registry);
    let error = registration.live().await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(registration.standing().borrow().state, State::Degraded);
    registry.state.set_fault(None);
    until(&registration, State::Live).await;
}

#[tokio::test(start_paused = true)]
async fn updates_are_coalesced_and_the_last_one_wins() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    let storm =
        (0..100).map(|n| registration.update(instance("orders", "a").with_version(n.to_string())));
    for result in futures_util::future::join_all(storm).await {
        result.expect("written");
    }
    let records = registry.state.records.lock().expect("lock").clone();
    let (_, last) = &records[&instance("orders", "a").key()];
    assert_eq!(last.version, "99");
    assert!(registry.state.updates.load(Ordering::SeqCst) < 10);
    let other = registration.update(instance("orders", "b")).await;
    assert_eq!(other.expect_err("other key").kind(), ErrorKind::Config);
}

#[tokio::test(start_paused = true)]
async fn an_update_while_the_registry_is_down_is_written_when_it_is_back() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    registry
        .state
        .set_fault(Some(Fault::Fail(ErrorKind::Unavailable)));
    let wanted = instance("orders", "a").with_version("2");
    let given_up = timeout(Duration::from_secs(5), registration.update(wanted)).await;
    assert!(given_up.is_err(), "waits while the registry is down");
    registry.state.set_fault(None);
    sleep(Duration::from_secs(20)).await;
    let records = registry.state.records.lock().expect("lock").clone();
    assert_eq!(records[&instance("orders", "a").key()].1.version, "2");
}

#[tokio::test(start_paused = true)]
async fn release_returns_within_its_limit_even_if_the_registry_is_dead() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    registry.state.set_fault(Some(Fault::Hang));
    let begun = Instant::now();
    registration.release().await.expect_err("nobody answers");
    assert!(begun.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_turn_has_its_whole_time_when_it_comes() {
    let registry = FakeRegistry::new();
    let at_once = usize::from(registry.profile().writes_at_once);
    registry.state.set_fault(Some(Fault::Hang));
    let registries = std::iter::repeat_with(|| Arc::clone(&registry) as Arc<dyn Registry>);
    let keepers: Vec<_> = (0..2 * at_once)
        .zip(registries)
        .map(|(number, registry)| {
            let instance = instance("orders", &format!("n{number}"));
            Registration::start(registry, instance, RegistrationOptions::new()).expect("options")
        })
        .collect();
    // Nobody is answered, so that turns pass on when the first ones give up.
    sleep(OPERATION_LIMIT / 2).await;
    assert_eq!(registry.state.registers.load(Ordering::SeqCst), at_once);
    sleep(OPERATION_LIMIT).await;
    assert_eq!(registry.state.registers.load(Ordering::SeqCst), 2 * at_once);
    registry.state.set_fault(None);
    for keeper in &keepers {
        keeper.live().await.expect("live");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_without_an_answer_wrote_is_released_too() {
    let key = instance("orders", "a").key();
    let registry = FakeRegistry::new();
    registry.state.set_fault(Some(Fault::Mute));
    let registration = start(&registry);
    unanswered(&registration).await;
    assert!(registry.state.has(&key), "it was written without an answer");
    registry.state.set_fault(None);
    registration.release().await.expect("release");
    sleep(Duration::from_secs(600)).await;
    assert!(!registry.state.has(&key), "released is final");

    // The answer of one that is dead is not known, and that is told.
    let registry = FakeRegistry::new();
    registry.state.set_fault(Some(Fault::Mute));
    let registration = start(&registry);
    unanswered(&registration).await;
    let begun = Instant::now();
    registration.release().await.expect_err("nobody answers");
    assert!(begun.elapsed() <= Duration::from_secs(20), "bounded");

    // Whoever took the id meanwhile lives somewhere else.
    let registry = FakeRegistry::new();
    registry.state.set_fault(Some(Fault::Mute));
    let registration = start(&registry);
    unanswered(&registration).await;
    registry.state.set_fault(None);
    let mut successor = instance("orders", "a");
    successor.node.address = crate::Address::new("10.0.0.2:80").expect("address");
    registry.state.put(successor);
    registration.release().await.expect("release");
    assert!(registry.state.has(&key), "a successor's record stays");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_registration_stops_renewing_and_removes_nothing() {
    let registry = FakeRegistry::new();
    let registration = start(&registry);
    registration.live().await.expect("live");
    drop(registration);
    advance(Duration::from_secs(60)).await;
    tokio::task::yield_now().await;
    assert_eq!(registry.state.renews.load(Ordering::SeqCst), 0);
    assert!(registry.state.has(&instance("orders", "a").key()));
}

#[tokio::test(start_paused = true)]
async fn beats_of_a_process_share_slots() {
    let registry = FakeRegistry::new();
    let shared: Arc<dyn Registry> = Arc::clone(&registry) as _;
    let all: Vec<_> = (0..500)
        .map(|n| {
            let instance = instance("orders", &format!("n{n}"));
            Registration::start(Arc::clone(&shared), instance, RegistrationOptions::new())
                .expect("start")
        })
        .collect();
    for registration in &all {
        registration.live().await.expect("live");
    }
    let mut moments = 0;
    let mut seen = registry.state.renews.load(Ordering::SeqCst);
    for _ in 0..10_000 {
        sleep(Duration::from_millis(1)).await;
        let now = registry.state.renews.load(Ordering::SeqCst);
        moments += usize::from(now != seen);
        seen = now;
    }
    assert!(seen >= 500, "all have renewed: {seen}");
    assert!(moments <= 100, "in {moments} batches");
    assert!(moments >= 10, "but not all at once: {moments}");
}

#[tokio::test]
async fn wrong_options_are_refused_with_the_rule() {
    let registry: Arc<dyn Registry> = FakeRegistry::new();
    let second = Duration::from_secs(1);
    for (options, needle) in [
        (RegistrationOptions::new().with_ttl(Duration::ZERO), "is 0"),
        (RegistrationOptions::new().with_ttl(second / 2), "below 1s"),
        (
            RegistrationOptions::new().with_interval(second * 30),
            "not below",
        ),
        (
            RegistrationOptions::new().with_interval(Duration::ZERO),
            "interval is 0",
        ),
        (
            RegistrationOptions::new().with_ttl(second * 1_000_000_000),
            "over a year",
        ),
    ] {
        let error = Registration::start(Arc::clone(&registry), instance("orders", "a"), options)
            .expect_err(needle);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(needle), "{error}");
    }
    for (ttl, interval) in [(30, 15), (30, 20), (15, 10)] {
        let options = RegistrationOptions::new()
            .with_ttl(second * ttl)
            .with_interval(second * interval);
        Registration::start(Arc::clone(&registry), instance("orders", "a"), options)
            .expect("the pairs that go-micro's guides give are fine");
    }
}
