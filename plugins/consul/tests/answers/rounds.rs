//! Blocking queries, and the indexes that they must not trust.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{ErrorKind, Event, WatchScope};

use crate::script::{Agent, Answer, at, entries, name, news, says, watch};

#[tokio::test]
async fn an_agent_that_never_blocks_is_not_asked_in_a_busy_loop() {
    for headers in [
        "x-consul-index: 0\r\n",
        "x-consul-index: 7\r\n",
        "",
        "x-consul-index: x\r\n",
    ] {
        let agent = Agent::start(move |asked| match asked.line.contains("catalog/services") {
            true => at(headers, "{}"),
            false => at(headers, entries()),
        })
        .await;
        let registry = agent.open("").await;
        let mut one = watch(&*registry, name("orders")).await;
        assert!(matches!(news(&mut one).await, Ok(Event::Snapshot(_))));
        sleep(Duration::from_secs(3)).await;
        let asked = agent.count("health/service");
        assert!(asked <= 9, "{headers:?}: {asked} requests in three seconds");
        assert_eq!(agent.count("index=0"), 0, "it would not block");
    }
}

#[tokio::test]
async fn an_index_that_goes_back_is_asked_for_without_waiting() {
    static INDEX: AtomicU64 = AtomicU64::new(900);
    let agent = Agent::start(|asked| match asked.line.as_str() {
        line if line.contains("index=900") => {
            INDEX.store(12, Ordering::SeqCst);
            at("x-consul-index: 12\r\n", "[]")
        }
        line if line.contains("index=12") => Answer::Silence,
        line if line.contains("authorize") => says(401, "ACL support disabled"),
        _ if INDEX.load(Ordering::SeqCst) == 900 => at("x-consul-index: 900\r\n", entries()),
        _ => at("x-consul-index: 12\r\n", entries()),
    })
    .await;
    let registry = agent.open("").await;
    let mut watcher = watch(&*registry, name("orders")).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 1));
    for _ in 0..2 {
        // Gone, and back by the question that did not wait.
        assert!(matches!(news(&mut watcher).await, Ok(Event::Changed(all)) if all.len() == 1));
    }
    let lines: Vec<_> = agent.asked().into_iter().map(|asked| asked.line).collect();
    assert!(!lines[3].contains("index="), "{lines:?}");
}

#[tokio::test]
async fn silence_is_noticed_in_time() {
    let agent = Agent::start(|asked| match asked.line.as_str() {
        line if line.contains("index=") => Answer::Silence,
        line if line.contains("catalog/services") => at("x-consul-index: 7\r\n", "{\"orders\":[]}"),
        line if line.contains("state/any") => at("x-consul-index: 7\r\n", "[]"),
        _ => at("x-consul-index: 7\r\n", entries()),
    })
    .await;
    let registry = agent.open("wait=1s&timeout=500ms").await;
    for scope in [WatchScope::All, name("orders").into()] {
        let mut watcher = watch(&*registry, scope).await;
        assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 1));
        let start = Instant::now();
        let error = news(&mut watcher).await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        let bound = Duration::from_millis(1000 + 63 + 500 + 1000);
        assert!(start.elapsed() < bound, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn followers_beyond_the_limit_share_one_query() {
    let agent = Agent::start(|asked| match asked.line.as_str() {
        line if line.contains("index=") => Answer::Silence,
        line if line.contains("authorize") => says(401, "ACL support disabled"),
        line if line.contains("catalog/services") => at("x-consul-index: 7\r\n", "{}"),
        _ => at("x-consul-index: 7\r\n", "[]"),
    })
    .await;
    let registry = agent.open("queries=3").await;
    let mut watchers = Vec::new();
    for number in 0..20 {
        let mut watcher = watch(&*registry, name(&format!("s{number}"))).await;
        assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(_))));
        watchers.push(watcher);
    }
    sleep(Duration::from_millis(300)).await;
    let blocked = |part: &str| {
        let asked = agent.asked();
        let blocked = asked
            .iter()
            .filter(|asked| asked.line.contains(part) && asked.line.contains("index="));
        let lines: std::collections::BTreeSet<_> =
            blocked.map(|asked| asked.line.clone()).collect();
        lines.len()
    };
    assert_eq!((blocked("health/service"), blocked("state/any")), (3, 1));
}
