//! Finding the page for a request.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Response, StatusCode, Uri};
use serde_json::{Map, Value, json};

use crate::counters::Counters;
use crate::front::Front;
use crate::panics::CatchPanics;
use crate::probes;

use super::{Admin, Page, Query, SECTIONED, Subject};

/// The front of an admin listener.
pub(super) fn front(admin: Admin) -> Front {
    let router = Router::new().fallback(move |method: Method, uri: Uri| {
        let admin = admin.clone();
        async move { answer(&admin, &method, &uri).await }
    });
    let counters = Arc::new(Counters::new("admin"));
    // A page of the program's own may panic as a handler may.
    let router = router.layer(CatchPanics(Arc::clone(&counters)));
    Front {
        counters,
        http: Some(router),
        #[cfg(feature = "tonic")]
        grpc: None,
        probes: None,
    }
}

async fn answer(admin: &Admin, method: &Method, uri: &Uri) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Page::text("only GET\n")
            .with_status(StatusCode::METHOD_NOT_ALLOWED)
            .into_response();
    }
    let path = uri.path();
    let query = Query::parse(uri.query().unwrap_or_default());
    let (own, services) = {
        let contents = admin.shared.lock();
        (contents.pages.get(path).cloned(), contents.services.clone())
    };
    if let Some(page) = own {
        return page(query).await.into_response();
    }
    let views: Vec<_> = services.iter().map(|one| one.board.view()).collect();
    let details = query.get("verbose").is_some();
    if let Some(probed) = probes::answer(path, details, &views) {
        return probed;
    }
    let page = match path {
        "/" => Page::text(index(admin)),
        "/metrics" => metrics(),
        _ if SECTIONED.contains(&path) => sections(admin, path, query, &services).await,
        _ => Page::text("no such page; / lists them\n").with_status(StatusCode::NOT_FOUND),
    };
    page.into_response()
}

/// Every page, one a line.
fn index(admin: &Admin) -> String {
    let house = [
        "/metrics",
        "/stats",
        "/explain",
        "/livez",
        "/readyz?verbose",
    ];
    let contents = admin.shared.lock();
    let own = contents.pages.keys().map(String::as_str);
    let own = own.filter(|path| !house.contains(path));
    house
        .into_iter()
        .chain(own)
        .fold(String::new(), |list, path| list + path + "\n")
}

fn metrics() -> Page {
    #[cfg(feature = "prometheus")]
    if let Some(prometheus) = crate::Prometheus::installed() {
        return Page::text(prometheus.text());
    }
    Page::text("nothing is recorded; build the service with .prometheus()\n")
        .with_status(StatusCode::NOT_FOUND)
}

/// The house's own section, and those of the other parts of the program.
async fn sections(admin: &Admin, path: &str, query: Query, services: &[Subject]) -> Page {
    let mut all = Map::new();
    let own = |subject: &Subject| {
        let value = match path {
            "/stats" => subject.counters.json(),
            _ => explained(subject),
        };
        (subject.counters.service.to_string(), value)
    };
    all.insert(
        "server".to_owned(),
        services.iter().map(own).collect::<Map<_, _>>().into(),
    );
    let sections: Vec<_> = {
        let contents = admin.shared.lock();
        let here = contents.sections.iter().filter(|((of, _), _)| of == path);
        here.map(|((_, key), section)| (key.clone(), Arc::clone(section)))
            .collect()
    };
    for (key, section) in sections {
        all.insert(key, section(query.clone()).await);
    }
    Page::json(&Value::Object(all))
}

/// Why a service is registered, or is not.
fn explained(subject: &Subject) -> Value {
    let view = subject.board.view();
    let checks = view
        .checks
        .iter()
        .map(|check| json!({ "name": check.name, "passing": check.passing, "cause": check.cause }));
    json!({
        "ready": view.is_ready(),
        "registration": view.presence.state.map(waypost_core::State::as_str),
        "proven": view.presence.proven,
        "propagation_seconds": view.presence.propagation.as_secs_f64(),
        "cause": view.presence.cause.as_ref().map(waypost_core::Error::chain),
        "checks": checks.collect::<Vec<_>>(),
    })
}
