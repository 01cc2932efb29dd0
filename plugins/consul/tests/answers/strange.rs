//! Answers that make no sense.

use std::time::Duration;

use tokio::time::Instant;
use waypost_core::ErrorKind;

use crate::script::{Agent, Answer, at, entries, name, says};

/// Bytes that this process has in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

#[tokio::test]
async fn what_is_no_answer_of_an_agent_is_an_error_of_its_kind() {
    for (answer, kind) in [
        (says(200, "<html>hello</html>"), ErrorKind::Corrupt),
        (says(200, ""), ErrorKind::Corrupt),
        (says(200, "{}"), ErrorKind::Corrupt),
        (says(200, "[{\"Node\":"), ErrorKind::Corrupt),
        (says(200, "[".repeat(100_000)), ErrorKind::Corrupt),
        (
            at("content-type: text/html\r\n", "null"),
            ErrorKind::Corrupt,
        ),
        (
            at("content-encoding: gzip\r\n", "no gzip"),
            ErrorKind::Corrupt,
        ),
        (
            says(400, "Client sent an HTTP request to an HTTPS server."),
            ErrorKind::Config,
        ),
        (says(503, "rate limit exceeded"), ErrorKind::Unavailable),
        (Answer::Closes, ErrorKind::Unavailable),
        (Answer::Silence, ErrorKind::Timeout),
    ] {
        let script = answer.clone();
        let agent = Agent::start(move |_| script.clone()).await;
        let registry = agent.open("timeout=300ms").await;
        let error = registry
            .lookup(&name("orders"))
            .await
            .expect_err("no answer");
        assert_eq!(error.kind(), kind, "{answer:?}: {error:?}");
        assert!(
            error.to_string().starts_with("consul: lookup orders: "),
            "{error}"
        );
        assert!(error.to_string().len() < 400 && !error.to_string().contains('\n'));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Agent::start(|_| at("x-consul-index: 7\r\n", entries())).await;
    let location = format!("location: http://{}/\r\n", target.address);
    let location: &'static str = Box::leak(location.into_boxed_str());
    let agent = Agent::start(move |_| Answer::Says(307, location, String::new())).await;
    let registry = agent.open("").await;
    let error = registry
        .lookup(&name("orders"))
        .await
        .expect_err("a redirect");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(target.count(""), 0);
}

#[tokio::test]
async fn an_endless_answer_stops_at_the_limit() {
    let agent = Agent::start(|_| Answer::Zeros(1 << 30)).await;
    let registry = agent.open("timeout=20s").await;
    let (before, start) = (resident(), Instant::now());
    let error = registry
        .lookup(&name("orders"))
        .await
        .expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn the_systems_proxy_is_not_asked() {
    // It would be dialled, and the answer would not be this agent's.
    let agent = Agent::start(|_| at("x-consul-index: 7\r\n", entries())).await;
    let registry = agent.open("").await;
    assert_eq!(
        registry.lookup(&name("orders")).await.expect("found").len(),
        1
    );
    assert!(
        agent.asked()[0]
            .line
            .starts_with("GET /v1/health/service/orders")
    );
}
