//! From an answer's bytes to its one message, or to the error that the node tells.

use bytes::{Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode;
use serde::Deserialize;
use waypost_resilience::{Pushback, Sent, code};

use super::{PREFIX, Protocol, excerpt};
use crate::answer::grpc_code;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::{Lease, Line};

const MICRO_ERROR: HeaderName = HeaderName::from_static("micro-error");
/// The most of an error's text that is read and shown.
const LONGEST_TEXT: usize = 4096;

/// go-micro's error as it travels.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    id: String,
    code: i32,
    detail: String,
    status: String,
}

/// Reads the whole answer of a node and gives its connection back.
pub(crate) async fn read(
    protocol: Protocol,
    largest: usize,
    response: Response<Incoming>,
    lease: Lease,
) -> Result<Response<Bytes>> {
    let (parts, body) = response.into_parts();
    if let Some(error) = told(protocol, parts.status, &parts.headers) {
        let Some(text) = error else {
            // Plain HTTP has the error in the body.
            let text = collect(body, LONGEST_TEXT).await;
            if text.is_ok() {
                put_back(lease);
            }
            let (text, _) = text.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            return Err(node_error(&text, parts.status.as_u16(), &parts.headers));
        };
        // What is behind an error is not waited for, except nothing.
        if body.is_end_stream() {
            put_back(lease);
        }
        return Err(text);
    }
    let (bytes, trailers) = collect(body, largest).await?;
    put_back(lease);
    let bytes = if protocol == Protocol::Grpc {
        let trailers = trailers.unwrap_or_default();
        let ended = if trailers.contains_key("grpc-status") {
            &trailers
        } else {
            &parts.headers
        };
        if let Some(error) = grpc_error(ended) {
            return Err(error);
        }
        only_message(bytes)?
    } else {
        bytes
    };
    Ok(Response::from_parts(parts, bytes))
}

/// What the head says is wrong: nothing; an error; or that the body has it.
#[expect(
    clippy::option_option,
    reason = "nothing, something in the body, something here"
)]
fn told(protocol: Protocol, status: StatusCode, headers: &HeaderMap) -> Option<Option<Error>> {
    match protocol {
        Protocol::Mucp => {
            if let Some(text) = headers.get(MICRO_ERROR) {
                let text = String::from_utf8_lossy(text.as_bytes());
                return Some(Some(node_error(&text, code::INTERNAL, headers)));
            }
            (status != StatusCode::OK).then_some(None)
        }
        Protocol::Grpc => {
            if status != StatusCode::OK {
                let text = format!("the node answers {status}, which gRPC does not know");
                return Some(Some(node_error(&text, status.as_u16(), headers)));
            }
            grpc_error(headers).map(Some)
        }
        Protocol::Http => {
            if status.is_redirection() {
                let place = headers
                    .get(LOCATION)
                    .map_or(&b""[..], |place| place.as_bytes());
                let text = format!(
                    "the node redirects to {}, which no call follows",
                    excerpt(place)
                );
                return Some(Some(node_error(&text, code::INTERNAL, headers)));
            }
            (!status.is_success()).then_some(None)
        }
    }
}

/// What the head of a stream's answer says is wrong.
pub(crate) fn stream_error(status: StatusCode, headers: &HeaderMap) -> Option<Error> {
    told(Protocol::Grpc, status, headers).flatten()
}

pub(crate) fn grpc_error(headers: &HeaderMap) -> Option<Error> {
    let code = match (grpc_code(headers), headers.get("grpc-status")) {
        (Some(code), _) => code,
        // A status that is no number.
        (None, Some(_)) => code::INTERNAL,
        (None, None) => return None,
    };
    if code == code::OK {
        return None;
    }
    let text = headers.get("grpc-message").map(|text| {
        let text = percent_decode(text.as_bytes());
        text.decode_utf8_lossy().into_owned()
    });
    Some(node_error(&text.unwrap_or_default(), code, headers))
}

/// The error in `text`, go-micro's JSON or plain; `code` where it says none.
fn node_error(text: &str, code: u16, headers: &HeaderMap) -> Error {
    let wire: Wire = serde_json::from_str(text).unwrap_or_default();
    let said = u16::try_from(wire.code).ok();
    let code = said
        .filter(|said| (400..600).contains(said))
        .unwrap_or(code);
    let detail = [&wire.detail, &wire.status]
        .into_iter()
        .find(|text| !text.is_empty());
    let detail = detail.map_or(text, String::as_str);
    let shown: String = detail
        .chars()
        .take(LONGEST_TEXT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let wish = Pushback::from_headers(headers);
    let error = Error::new(ErrorKind::Node, shown).with_sent(Sent::Answered);
    let id: String = wire
        .id
        .chars()
        .filter(|c| !c.is_control())
        .take(256)
        .collect();
    let error = match id.is_empty() {
        true => error.with_code("waypost.client", code),
        false => error.with_code(id, code),
    };
    error.with_pushback(wish.after, wish.never)
}

async fn collect(mut body: Incoming, largest: usize) -> Result<(Bytes, Option<HeaderMap>)> {
    let too_long = || {
        let text = format!("the answer is longer than {largest} bytes (`largest_answer`)");
        Error::new(ErrorKind::Decode, text).with_sent(Sent::Answered)
    };
    if body.size_hint().lower() > largest as u64 {
        return Err(too_long());
    }
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Error::new(ErrorKind::Transport, "the answer broke off")
                .with_sent(Sent::Maybe)
                .with_source(error)
        })?;
        match frame.into_data() {
            Ok(data) => {
                if first.len() + more.len() + data.len() > largest {
                    return Err(too_long());
                }
                if first.is_empty() {
                    first = data;
                } else {
                    more.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if more.is_empty() {
        return Ok((first, trailers));
    }
    let mut all = BytesMut::with_capacity(first.len() + more.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&more);
    Ok((all.freeze(), trailers))
}

fn put_back(lease: Lease) {
    if let Line::One(owned) = lease.line {
        owned.put_back();
    }
}

/// The one message of an answer that is no stream.
fn only_message(mut bytes: Bytes) -> Result<Bytes> {
    let fault = |text: &str| Error::new(ErrorKind::Decode, text).with_sent(Sent::Answered);
    let Some(prefix) = bytes.first_chunk::<PREFIX>().copied() else {
        return Err(fault("the answer has no message"));
    };
    let message = bytes.split_off(PREFIX);
    if prefix[0] != 0 {
        return Err(fault("the answer is compressed, which nobody asked for"));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    match message.len().cmp(&(length as usize)) {
        std::cmp::Ordering::Equal => Ok(message),
        std::cmp::Ordering::Less => Err(fault("the answer's message is cut off")),
        std::cmp::Ordering::Greater => Err(fault("the answer has more than one message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_every_dress() {
        let none = HeaderMap::new();
        let json =
            r#"{"id":"go.micro.server","code":404,"detail":"no such user","status":"Not Found"}"#;
        let error = node_error(json, 500, &none);
        assert_eq!((error.code(), error.id()), (404, "go.micro.server"));
        assert_eq!(error.detail(), "no such user");
        let plain = node_error("it broke\r\n", 500, &none);
        assert_eq!((plain.code(), plain.detail()), (500, "it broke  "));
        for (text, code) in [
            (r#"{"code":0}"#, 503),
            (r#"{"code":200}"#, 503),
            (r#"{"code":-1}"#, 503),
            (r#"{"code":99999999999}"#, 503),
            ("[]", 503),
            ("null", 503),
            ("", 503),
        ] {
            assert_eq!(node_error(text, 503, &none).code(), code, "{text}");
        }
    }

    #[test]
    fn one_message_is_taken_and_nothing_else() {
        let framed = |flag: u8, length: u32, body: &[u8]| {
            let mut bytes = vec![flag];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(body);
            Bytes::from(bytes)
        };
        assert_eq!(only_message(framed(0, 3, b"abc")).expect("one"), "abc");
        assert_eq!(only_message(framed(0, 0, b"")).expect("one"), "");
        for (bytes, said) in [
            (Bytes::new(), "no message"),
            (Bytes::from_static(&[0, 0, 0]), "no message"),
            (framed(1, 3, b"abc"), "compressed"),
            (framed(0, 4, b"abc"), "cut off"),
            (framed(0, u32::MAX, b"abc"), "cut off"),
            (framed(0, 2, b"abc"), "more than one"),
        ] {
            let error = only_message(bytes).expect_err("a fault");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
