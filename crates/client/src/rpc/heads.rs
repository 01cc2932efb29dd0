//! One call's head in each protocol.

use std::sync::OnceLock;
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

/// One call's head in each protocol, made when a node wants it: then it is told too whether the
/// endpoint fits into that protocol.
pub(crate) struct Heads {
    service: String,
    endpoint: String,
    /// The names as headers.
    named: [HeaderValue; 2],
    coding: Coding,
    /// The longest answer; none for a stream of messages.
    largest: Option<usize>,
    id: u64,
    /// What holds for all nodes.
    any: Head,
    made: [OnceLock<Result<Head>>; 3],
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
        let names = [named("service", service)?, named("endpoint", endpoint)?];
        if endpoint.is_empty() {
            return Err(Error::config(
                "the endpoint is empty; `Struct.Method` or `/path` is needed",
            ));
        }
        let root = PathAndQuery::from_static("/");
        Ok(Self {
            service: service.to_owned(),
            endpoint: endpoint.to_owned(),
            named: names,
            coding,
            largest,
            id: CALLS.fetch_add(1, Ordering::Relaxed),
            any: Head::new(Method::POST, root, headers, Version::One),
            made: Default::default(),
        })
    }

    /// The endpoint's name.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A head that says what holds for all nodes.
    pub(crate) fn any(&self) -> &Head {
        &self.any
    }

    pub(crate) fn of(&self, node: &Node) -> Result<&Head> {
        let protocol = Protocol::of(node);
        let made = self.made[protocol as usize].get_or_init(|| self.head(protocol));
        made.as_ref().map_err(Clone::clone)
    }

    /// The head for nodes that speak gRPC.
    pub(crate) fn into_grpc(self) -> Result<Head> {
        self.head(Protocol::Grpc)
    }

    fn head(&self, protocol: Protocol) -> Result<Head> {
        let path = match protocol {
            Protocol::Mucp => self.any.path.clone(),
            Protocol::Grpc => grpc_path(&self.service, &self.endpoint)?,
            Protocol::Http => http_path(&self.endpoint)?,
        };
        let headers = self.any.headers.clone();
        let mut head = Head::new(Method::POST, path, headers, protocol.version());
        let content_type = HeaderValue::from_static(self.coding.content_type(protocol));
        head.headers.insert(CONTENT_TYPE, content_type.clone());
        if protocol == Protocol::Grpc {
            head.headers
                .insert(TE, HeaderValue::from_static("trailers"));
        } else {
            head.headers.insert(ACCEPT, content_type);
            head.skip = PREFIX;
        }
        if protocol == Protocol::Mucp {
            let [service, endpoint] = &self.named;
            head.headers.insert(MICRO_SERVICE, service.clone());
            head.headers.insert(MICRO_METHOD, endpoint.clone());
            head.headers.insert(MICRO_ENDPOINT, endpoint.clone());
            head.headers.insert(MICRO_ID, HeaderValue::from(self.id));
        }
        if let Some(largest) = self.largest {
            head.reading = Reading::Message { protocol, largest };
        }
        Ok(head)
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
