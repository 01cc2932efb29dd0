//! Errors as go-micro's callers read them.

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};

/// gRPC's status for a fault of the server's own.
pub(crate) const GRPC_INTERNAL: u8 = 13;

/// Whether a request is a gRPC call.
pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// go-micro's error object: `{"id":"greeter","code":500,"detail":"…","status":"…"}`.
pub(crate) fn json(id: &str, status: StatusCode, detail: &str) -> String {
    serde_json::json!({
        "id": id,
        "code": status.as_u16(),
        "detail": detail,
        "status": status.canonical_reason().unwrap_or_default(),
    })
    .to_string()
}

/// An HTTP answer with the error object as its body.
pub(crate) fn http(id: &str, status: StatusCode, detail: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json(id, status, detail)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The gRPC status of a fault of ours, as trailers or as the headers of an answer without a body.
pub(crate) fn grpc_status(id: &str, detail: &str) -> http::HeaderMap {
    let message = percent_encoded(&json(id, StatusCode::INTERNAL_SERVER_ERROR, detail));
    let mut headers = http::HeaderMap::with_capacity(2);
    headers.insert("grpc-status", HeaderValue::from(u16::from(GRPC_INTERNAL)));
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", message);
    }
    headers
}

/// A gRPC answer that is nothing but a status.
pub(crate) fn grpc(id: &str, detail: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = grpc_status(id, detail);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A gRPC message may hold any text; on the wire it is visible ASCII without `%`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_go_micros_object() {
        let text = json(
            "greeter",
            StatusCode::INTERNAL_SERVER_ERROR,
            "a handler panicked",
        );
        let read: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(read["id"], "greeter");
        assert_eq!(read["code"], 500);
        assert_eq!(read["status"], "Internal Server Error");
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(percent_encoded("50% ü\n"), "50%25 %C3%BC%0A");
    }
}
