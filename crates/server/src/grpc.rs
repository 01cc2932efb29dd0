//! gRPC services: their router, the names they are called by, and their health service.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

use axum::Router;
use http::uri::PathAndQuery;
use http::{Request, Uri};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_service::Service;

use crate::board::{Board, Phase};

/// The name under which the health service answers for the whole server.
const WHOLE: &str = "";

/// The gRPC services of one server.
#[derive(Debug, Default)]
pub(crate) struct Services {
    routes: Routes,
    names: Names,
}

impl Services {
    pub(crate) fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        // The router refuses a second route of the same name by a panic.
        if self.names.add(S::NAME) {
            self.routes = std::mem::take(&mut self.routes).add_service(service);
        } else {
            self.names.twice.get_or_insert(S::NAME);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.exact.is_empty()
    }

    /// The name of a service that was given more than once.
    pub(crate) fn given_twice(&self) -> Option<&'static str> {
        self.names.twice
    }

    /// The router of all of them and, unless the program brings its own, of the health service.
    pub(crate) fn routed(mut self) -> (Routed, Option<HealthReporter>) {
        let health = "grpc.health.v1.Health";
        let reporter = (!self.names.exact.contains(health)).then(|| {
            let (reporter, server) = tonic_health::server::health_reporter();
            self.add(server);
            reporter
        });
        let routed = Routed {
            router: self.routes.prepare().into_axum_router(),
            names: std::sync::Arc::new(self.names),
        };
        (routed, reporter)
    }
}

/// A router of gRPC calls, and the names that it knows.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) router: Router,
    pub(crate) names: std::sync::Arc<Names>,
}

/// The names of the services, in full and without their package. go-micro's callers put the name of
/// the registered service where others put the protobuf package, and its servers ignore that part.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashSet<&'static str>,
    /// By last segment; `None` where two packages have a service of that name.
    last: HashMap<&'static str, Option<&'static str>>,
    twice: Option<&'static str>,
}

impl Names {
    fn add(&mut self, name: &'static str) -> bool {
        if !self.exact.insert(name) {
            return false;
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        let entry = self.last.entry(last);
        entry
            .and_modify(|known| *known = None)
            .or_insert(Some(name));
        true
    }

    /// Brings the path of a call whose package is not known into the form that the router knows.
    pub(crate) fn complete<B>(&self, request: &mut Request<B>) {
        if let Some(path) = self.completed(request.uri().path()) {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }

    fn completed(&self, path: &str) -> Option<PathAndQuery> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        if self.exact.contains(service) {
            return None;
        }
        let last = service.rsplit('.').next().unwrap_or(service);
        let full = self.last.get(last).copied().flatten()?;
        PathAndQuery::try_from(format!("/{full}/{method}")).ok()
    }

    /// Every name that the health service answers for.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.exact.iter().copied().chain([WHOLE])
    }
}

/// Keeps grpc.health.v1 at what the board says, and ends its streams when the listener closes: a
/// caller that watches would hold the drain up to its deadline.
pub(crate) async fn report(
    mut reporter: HealthReporter,
    names: std::sync::Arc<Names>,
    board: Board,
) {
    let mut views = board.watch();
    let mut shown = None;
    loop {
        let (ready, closing) = {
            let view = views.borrow_and_update();
            (view.is_ready(), view.phase == Phase::Closing)
        };
        if closing {
            for name in names.all() {
                reporter.clear_service_status(name).await;
            }
            return;
        }
        if shown != Some(ready) {
            shown = Some(ready);
            let status = if ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in names.all() {
                reporter.set_service_status(name, status).await;
            }
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_finds_its_service_whatever_package_it_names() {
        let mut names = Names::default();
        for name in ["helloworld.Greeter", "a.b.Orders", "c.Orders"] {
            assert!(names.add(name));
        }
        assert!(!names.add("c.Orders"));
        let completed = |path| names.completed(path).map(|path| path.to_string());
        let greeter = Some("/helloworld.Greeter/Hello".to_owned());
        assert_eq!(completed("/go.micro.srv.greeter.Greeter/Hello"), greeter);
        assert_eq!(completed("/Greeter/Hello"), greeter);
        // Known as it is, ambiguous, unknown, and no call at all.
        for path in [
            "/c.Orders/Get",
            "/x.Orders/Get",
            "/x.Users/Get",
            "/",
            "",
            "/Greeter",
        ] {
            assert_eq!(completed(path), None, "{path}");
        }
    }
}
