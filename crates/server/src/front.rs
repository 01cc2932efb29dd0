//! What stands between a connection and the routers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tower_service::Service as _;

use crate::board::Board;
use crate::counters::Counters;
use crate::fault;

/// One port's routers: gRPC calls go to one, everything else to the other.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) counters: Arc<Counters>,
    pub(crate) http: Option<Router>,
    #[cfg(feature = "tonic")]
    pub(crate) grpc: Option<crate::grpc::Routed>,
    /// Answers `/livez` and `/readyz` on the service's own port.
    pub(crate) probes: Option<Board>,
}

impl Front {
    /// The front as one peer sees it.
    pub(crate) fn to(&self, peer: SocketAddr) -> Connection {
        Connection {
            front: self.clone(),
            peer,
        }
    }

    /// The router that answers `request`, whose path may be brought into the form it knows.
    fn router<B>(&self, request: &mut Request<B>) -> Option<Router> {
        #[cfg(feature = "tonic")]
        if let Some(grpc) = &self.grpc
            && fault::is_grpc(request)
        {
            grpc.names.complete(request);
            return Some(grpc.router.clone());
        }
        // Kept `mut` for the feature above.
        let _ = request.uri_mut();
        self.http.clone()
    }

    fn probed<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let board = self.probes.as_ref()?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        reads
            .then(|| crate::probes::answer(request.uri().path(), false, &[board.view()]))
            .flatten()
    }
}

/// The service of one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    front: Front,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Connection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let old = request.version() < Version::HTTP_2;
        let counters = Arc::clone(&self.front.counters);
        let probed = self.front.probed(&request);
        let router = self.front.router(&mut request);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        Box::pin(async move {
            let mut response = match (probed, router) {
                (Some(probed), _) => probed,
                (None, Some(mut router)) => router.call(request).await?,
                (None, None) => {
                    let detail = "this service answers gRPC calls only";
                    fault::http(&counters.service, StatusCode::NOT_FOUND, detail)
                }
            };
            // A peer that keeps its connection would send the next request into a closing one.
            if old && counters.leaving.load(Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}
