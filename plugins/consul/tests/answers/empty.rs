//! An empty answer has to be proven.

use std::sync::atomic::{AtomicBool, Ordering};

use waypost_core::{ErrorKind, Event, WatchScope};

use crate::script::{Agent, Answer, at, entries, name, news, says, watch};

const ALLOWED: &str = r#"[{"Resource":"service","Allow":true},{"Resource":"node","Allow":true}]"#;
const NO_SERVICE: &str =
    r#"[{"Resource":"service","Allow":false},{"Resource":"node","Allow":true}]"#;
const NO_NODE: &str = r#"[{"Resource":"service","Allow":true},{"Resource":"node","Allow":false}]"#;

fn empty(ruling: Answer) -> impl Fn(&crate::script::Asked) -> Answer {
    move |asked| match asked.line.as_str() {
        line if line.contains("/acl/authorize") => ruling.clone(),
        line if line.contains("catalog/services") => at("x-consul-index: 7\r\n", "{\"consul\":[]}"),
        _ => at("x-consul-index: 7\r\n", "[]"),
    }
}

#[tokio::test]
async fn nothing_is_empty_unless_the_agent_says_that_we_may_see_all() {
    for (ruling, kind) in [
        (says(200, ALLOWED), None),
        (says(401, "ACL support disabled"), None),
        (says(200, NO_SERVICE), Some(ErrorKind::Denied)),
        (says(200, NO_NODE), Some(ErrorKind::Denied)),
        (says(200, "[]"), Some(ErrorKind::Denied)),
        (says(403, "ACL not found"), Some(ErrorKind::Denied)),
        (says(404, ""), Some(ErrorKind::Unavailable)),
        (says(500, "No cluster leader"), Some(ErrorKind::Unavailable)),
        (says(200, "<html>"), Some(ErrorKind::Corrupt)),
    ] {
        let agent = Agent::start(empty(ruling.clone())).await;
        let registry = agent.open("").await;
        let lookup = registry.lookup(&name("orders")).await;
        assert_eq!(
            lookup.as_ref().err().map(waypost_core::Error::kind),
            kind,
            "{ruling:?}"
        );
        let services = registry.services().await;
        assert_eq!(services.err().map(|error| error.kind()), kind, "{ruling:?}");
        for scope in [WatchScope::All, name("orders").into()] {
            let first = news(&mut watch(&*registry, scope).await).await;
            match (first, kind) {
                (Ok(Event::Snapshot(all)), None) => assert!(all.is_empty()),
                (Err(error), Some(kind)) => assert_eq!(error.kind(), kind, "{ruling:?}"),
                first => panic!("{ruling:?}: {first:?}"),
            }
        }
        let questions = agent.asked();
        let question = questions
            .iter()
            .find(|asked| asked.line.contains("authorize"));
        let body = &question.expect("a question").body;
        assert!(body.contains(r#""Segment":"orders""#) && body.contains(r#""Resource":"node""#));
    }
}

#[tokio::test]
async fn a_newer_agent_says_itself_that_it_left_something_out() {
    let headers = "x-consul-index: 7\r\nx-consul-results-filtered-by-acls: true\r\n";
    let agent = Agent::start(move |asked| match asked.line.contains("catalog/services") {
        true => at(headers, "{}"),
        false => at(headers, "[]"),
    })
    .await;
    let registry = agent.open("").await;
    let error = registry.lookup(&name("orders")).await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let error = registry.services().await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(agent.count("authorize"), 0);
}

#[tokio::test]
async fn a_set_that_vanishes_without_a_write_is_denied_and_not_empty() {
    // Rights were taken away: the index stays, the list is empty, and the agent's own memory still
    // says that all is allowed.
    let agent = Agent::start(|asked| match asked.line.as_str() {
        line if line.contains("authorize") => says(200, ALLOWED),
        line if line.contains("index=") => at("x-consul-index: 7\r\n", "[]"),
        _ => at("x-consul-index: 7\r\n", entries()),
    })
    .await;
    let registry = agent.open("").await;
    let mut watcher = watch(&*registry, name("orders")).await;
    assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(all)) if all.len() == 1));
    let error = news(&mut watcher).await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn a_set_that_becomes_empty_is_proven() {
    for (ruling, denied) in [(ALLOWED, false), (NO_SERVICE, true)] {
        let first = AtomicBool::new(true);
        let agent = Agent::start(move |asked| match asked.line.as_str() {
            line if line.contains("authorize") => says(200, ruling),
            line if line.contains("index=8") => Answer::Silence,
            _ if first.swap(false, Ordering::SeqCst) => at("x-consul-index: 7\r\n", entries()),
            _ => at("x-consul-index: 8\r\n", "[]"),
        })
        .await;
        let registry = agent.open("").await;
        let mut watcher = watch(&*registry, name("orders")).await;
        assert!(matches!(news(&mut watcher).await, Ok(Event::Snapshot(_))));
        match news(&mut watcher).await {
            Ok(Event::Changed(changes)) => assert!(changes.len() == 1 && !denied),
            Err(error) => assert!(denied && error.kind() == ErrorKind::Denied, "{error}"),
            event => panic!("{event:?}"),
        }
    }
}

/// The rights come between the first reading and the question whether they are there.
#[tokio::test]
async fn what_was_hidden_when_it_was_read_is_read_again() {
    let hidden = || {
        let allowed = AtomicBool::new(false);
        Agent::start(move |asked| match asked.line.as_str() {
            line if line.contains("authorize") => {
                allowed.store(true, Ordering::SeqCst);
                says(200, ALLOWED)
            }
            line if line.contains("index=") => Answer::Silence,
            line if line.contains("catalog/services") => match allowed.load(Ordering::SeqCst) {
                true => at("x-consul-index: 7\r\n", "{\"orders\":[]}"),
                false => at("x-consul-index: 7\r\n", "{}"),
            },
            line if line.contains("state/any") => at("x-consul-index: 7\r\n", "[]"),
            _ if allowed.load(Ordering::SeqCst) => at("x-consul-index: 7\r\n", entries()),
            _ => at("x-consul-index: 7\r\n", "[]"),
        })
    };
    let agent = hidden().await;
    let found = agent.open("").await.lookup(&name("orders")).await;
    assert_eq!(found.expect("found").len(), 1);
    let agent = hidden().await;
    let found = agent.open("").await.services().await;
    assert_eq!(found.expect("found"), [name("orders")]);
    for options in ["", "queries=0"] {
        for scope in [WatchScope::All, name("orders").into()] {
            let agent = hidden().await;
            let registry = agent.open(options).await;
            let first = news(&mut watch(&*registry, scope.clone()).await).await;
            match first.expect("a snapshot") {
                Event::Snapshot(all) => assert_eq!(all.len(), 1, "{options} {scope}"),
                event => panic!("{event:?}"),
            }
        }
    }
}
