//! One call's head in each protocol.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{ACCEPT, CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use waypost_selector::Node;

use super::{Coding, PREFIX, Protocol};
use crate::error::{Error, Result};
use crate::plan::Reading;
use crate::route::Head;
use crate::version::Version;

const MICRO_SERVICE: HeaderName = HeaderName::from_static("micro-service");
const MICRO_ENDPOINT: HeaderName = HeaderName::from_static("micro-endpoint");
const MICRO_METHOD: HeaderName = HeaderName::from_static("micro-method");
const MICRO_ID: HeaderName = HeaderName::from_static("micro-id");

/// What `Micro-Id` counts: calls of this process.
static CALLS: AtomicU64 = AtomicU64::new(1);

/// One call's head in each protocol. Which of them an endpoint fits into is told when a node wants it.
pub(crate) struct Heads {
    mucp: Head,
    grpc: Result<Head>,
    http: Result<Head>,
}

impl Heads {
    /// `largest` is the longest answer; none for a stream of messages.
    pub(crate) fn new(
        service: &str,
        endpoint: &str,
        coding: Coding,
        headers: HeaderMap,
        largest: Option<usize>,
    ) -> Result<Self> {
        let named = |what: &str, text: &str| {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| Error::config(format!("the {what} {text:?} cannot be a header")))
        };
        let (service_name, endpoint_name) =
            (named("service", service)?, named("endpoint", endpoint)?);
        if endpoint.is_empty() {
            return Err(Error::config(
                "the endpoint is empty; `Struct.Method` or `/path` is needed",
            ));
        }
        let head = |protocol: Protocol, path: PathAndQuery| {
            let mut headers = headers.clone();
            let content_type = HeaderValue::from_static(coding.content_type(protocol));
            headers.insert(CONTENT_TYPE, content_type.clone());
            if protocol == Protocol::Grpc {
                headers.insert(TE, HeaderValue::from_static("trailers"));
            } else {
                headers.insert(ACCEPT, content_type);
            }
            Head {
                method: Method::POST,
                path,
                headers,
                version: protocol.version(),
                grpc: protocol == Protocol::Grpc,
                whole: false,
                authority: None,
                skip: if protocol == Protocol::Grpc {
                    0
                } else {
                    PREFIX
                },
                reading: match largest {
                    Some(largest) => Reading::Message { protocol, largest },
                    None => Reading::Passed,
                },
            }
        };
        let mut mucp = head(Protocol::Mucp, PathAndQuery::from_static("/"));
        mucp.headers.insert(MICRO_SERVICE, service_name);
        mucp.headers.insert(MICRO_METHOD, endpoint_name.clone());
        mucp.headers.insert(MICRO_ENDPOINT, endpoint_name);
        let id = CALLS.fetch_add(1, Ordering::Relaxed);
        mucp.headers.insert(MICRO_ID, HeaderValue::from(id));
        Ok(Self {
            mucp,
            grpc: grpc_path(service, endpoint).map(|path| head(Protocol::Grpc, path)),
            http: http_path(endpoint).map(|path| head(Protocol::Http, path)),
        })
    }

    pub(crate) fn any(&self) -> &Head {
        &self.mucp
    }

    pub(crate) fn of(&self, node: &Node) -> Result<&Head> {
        match Protocol::of(node) {
            Protocol::Mucp => Ok(&self.mucp),
            Protocol::Grpc => self.grpc.as_ref().map_err(Clone::clone),
            Protocol::Http => self.http.as_ref().map_err(Clone::clone),
        }
    }

    /// The head for nodes that speak gRPC.
    pub(crate) fn into_grpc(self) -> Result<Head> {
        debug_assert_eq!(Protocol::Grpc.version(), Version::Two);
        self.grpc
    }
}

/// `/service.Struct/Method`; what begins with `/` is the path already.
fn grpc_path(service: &str, endpoint: &str) -> Result<PathAndQuery> {
    let path = if endpoint.starts_with('/') {
        endpoint.to_owned()
    } else {
        match endpoint.split('.').collect::<Vec<_>>()[..] {
            [name, method] if !name.is_empty() && !method.is_empty() => {
                format!("/{service}.{name}/{method}")
            }
            _ => {
                return Err(Error::config(format!(
                    "the endpoint {endpoint:?} is not `Struct.Method`, and the node speaks gRPC"
                )));
            }
        }
    };
    parsed(path)
}

fn http_path(endpoint: &str) -> Result<PathAndQuery> {
    if endpoint.starts_with('/') {
        return parsed(endpoint.to_owned());
    }
    parsed(format!("/{endpoint}"))
}

fn parsed(path: String) -> Result<PathAndQuery> {
    PathAndQuery::try_from(path.as_str())
        .map_err(|error| Error::config(format!("{path:?} is no path")).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_become_paths_as_in_go_micro() {
        let grpc = |endpoint| grpc_path("go.micro.greeter", endpoint).map(|path| path.to_string());
        assert_eq!(
            grpc("Greeter.Hello").expect("a path"),
            "/go.micro.greeter.Greeter/Hello"
        );
        assert_eq!(
            grpc("/any.Greeter/Hello").expect("a path"),
            "/any.Greeter/Hello"
        );
        for bad in ["Hello", "a.b.c", ".Hello", "Greeter.", "."] {
            let error = grpc(bad).expect_err("no path").to_string();
            assert!(
                error.contains(bad) && error.contains("Struct.Method"),
                "{error}"
            );
        }
        let http = |endpoint| http_path(endpoint).map(|path| path.to_string());
        assert_eq!(http("Greeter.Hello").expect("a path"), "/Greeter.Hello");
        assert_eq!(http("/hello?name=x").expect("a path"), "/hello?name=x");
        assert!(http("a b").is_err());
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_name() {
        let heads = |service, endpoint| {
            Heads::new(service, endpoint, Coding::Json, HeaderMap::new(), Some(1)).map(|_| ())
        };
        let error = heads("greeter", "Greeter.\nHello").expect_err("a line");
        assert!(error.to_string().contains("endpoint"), "{error}");
        assert!(heads("greeter", "").is_err());
        assert!(heads("greeter", "Greeter.Hello").is_ok());
    }
}
