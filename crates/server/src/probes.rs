//! `/livez` and `/readyz`.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::board::View;

/// The paths that say whether a process lives, and those that say whether it should be called. The
/// first of each is Kubernetes' present name, the others are what people have in their manifests.
const LIVE: [&str; 3] = ["/livez", "/health/live", "/live"];
const READY: [&str; 5] = ["/readyz", "/healthz", "/health", "/health/ready", "/ready"];

/// The answer to a probe of `path`; `None` where it is none. Details are for people on the admin
/// listener: they name addresses and faults that callers of the service have no business with.
pub(crate) fn answer(path: &str, details: bool, views: &[View]) -> Option<Response<Body>> {
    if LIVE.contains(&path) {
        // Whoever can answer lives: a check that fails must not get the process killed.
        return Some(text(StatusCode::OK, "ok\n".to_owned()));
    }
    if !READY.contains(&path) {
        return None;
    }
    let ready = views.iter().all(View::is_ready);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verdict = if ready { "ok\n" } else { "not ready\n" };
    let lines = views.iter().filter(|_| details).map(View::lines);
    Some(text(status, lines.chain([verdict.to_owned()]).collect()))
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Board, Phase};

    #[test]
    fn a_process_that_is_not_ready_still_lives() {
        let board = Board::new(["db".to_owned()]);
        board.enter(Phase::Serving);
        let views = [board.view()];
        for path in LIVE {
            assert_eq!(
                answer(path, false, &views).expect(path).status(),
                StatusCode::OK
            );
        }
        for path in READY {
            let status = answer(path, true, &views).expect(path).status();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert!(answer("/orders", false, &views).is_none());
    }
}
