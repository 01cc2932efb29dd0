//! Typed calls: a service, an endpoint, a request; the picked node's metadata says how it is spoken to.
//!
//! | metadata `protocol` | what is sent | how an error comes back |
//! |---|---|---|
//! | `mucp` | `POST /` with `Micro-Service`, `Micro-Endpoint`, `Micro-Method`, `Micro-Id` | status 200, header `Micro-Error` |
//! | `grpc` | `POST /service.Struct/Method`, one length-prefixed message | `grpc-status`, go-micro's JSON in `grpc-message` |
//! | `http`, anything else, none | `POST /endpoint` | the status |

mod heads;
pub(crate) mod message;
mod stream;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use waypost_selector::Node;

pub(crate) use heads::Heads;
pub use stream::{Receiver, Sender, Stream};

use crate::answer::Answer;
use crate::body::Outgoing;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::layers::Called;
use crate::options::CallOptions;
use crate::plan::Plan;
use crate::version::Version;

/// The bytes before each message of gRPC: whether it is compressed, and its length.
pub(crate) const PREFIX: usize = 5;

/// How a node is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    Mucp,
}

impl Protocol {
    /// By the node's metadata.
    pub(crate) fn of(node: &Node) -> Self {
        let metadata = &node.instance().node.metadata;
        match metadata.get("protocol").map(String::as_str) {
            Some("grpc") => Self::Grpc,
            Some("mucp") => Self::Mucp,
            _ => Self::Http,
        }
    }

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Grpc => Version::Two,
            Self::Http | Self::Mucp => Version::One,
        }
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// JSON.
    #[default]
    Json,
    /// Protobuf.
    Proto,
}

impl Coding {
    pub(crate) fn content_type(self, protocol: Protocol) -> &'static str {
        match (self, protocol) {
            (Self::Json, Protocol::Grpc) => "application/grpc+json",
            (Self::Proto, Protocol::Grpc) => "application/grpc+proto",
            (Self::Json, _) => "application/json",
            (Self::Proto, _) => "application/protobuf",
        }
    }
}

impl Client {
    /// Calls an endpoint of a service with JSON and reads the reply.
    ///
    /// The picked node's metadata `protocol` says how it is spoken to: `mucp` and `grpc` as go-micro
    /// does, with endpoints `Struct.Method`; else by HTTP, `POST /endpoint`, or the path itself where
    /// the endpoint begins with `/`. What runs twice if tried twice is repeated only if
    /// [`CallOptions::idempotent`] says so.
    ///
    /// ```no_run
    /// # async fn example(client: waypost_client::Client) -> waypost_client::Result<()> {
    /// #[derive(serde::Serialize)]
    /// struct Hello { name: String }
    /// #[derive(serde::Deserialize)]
    /// struct Greeting { text: String }
    ///
    /// let request = Hello { name: "Ann".to_owned() };
    /// let reply: Greeting = client.call("greeter", "Greeter.Hello", &request).await?;
    /// println!("{}", reply.text);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What kept the call from being answered, or the node's own error ([`ErrorKind::Node`]) with its
    /// code and id.
    ///
    /// # Cancel safety
    /// Safe: the attempt under way is given up.
    pub async fn call<Q, R>(&self, service: &str, endpoint: &str, request: &Q) -> Result<R>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.call_with(service, endpoint, request, &CallOptions::new())
            .await
    }

    /// [`Client::call`] with options.
    ///
    /// # Errors
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    pub async fn call_with<Q, R>(
        &self,
        service: &str,
        endpoint: &str,
        request: &Q,
        options: &CallOptions,
    ) -> Result<R>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let message = framed(|text| write_json(request, text))?;
        let coding = Coding::Json;
        let answer = self
            .exchange(service, endpoint, coding, message, options)
            .await?;
        read_json(&answer)
    }

    /// Calls an endpoint with a protobuf message.
    ///
    /// # Errors
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    #[cfg(feature = "prost")]
    pub async fn call_proto<Q, R>(&self, service: &str, endpoint: &str, request: &Q) -> Result<R>
    where
        Q: prost::Message,
        R: prost::Message + Default,
    {
        self.call_proto_with(service, endpoint, request, &CallOptions::new())
            .await
    }

    /// [`Client::call_proto`] with options.
    ///
    /// # Errors
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    #[cfg(feature = "prost")]
    pub async fn call_proto_with<Q, R>(
        &self,
        service: &str,
        endpoint: &str,
        request: &Q,
        options: &CallOptions,
    ) -> Result<R>
    where
        Q: prost::Message,
        R: prost::Message + Default,
    {
        let message = framed(|text| write_proto(request, text))?;
        let coding = Coding::Proto;
        let answer = self
            .exchange(service, endpoint, coding, message, options)
            .await?;
        read_proto(&answer)
    }

    /// Calls an endpoint with a message that is encoded already, and returns the reply as it came:
    /// for gateways.
    ///
    /// # Errors
    /// As [`Client::call`].
    ///
    /// # Cancel safety
    /// As [`Client::call`].
    pub async fn call_raw(
        &self,
        service: &str,
        endpoint: &str,
        coding: Coding,
        request: &[u8],
        options: &CallOptions,
    ) -> Result<Bytes> {
        let message = framed(|bytes| {
            bytes.put_slice(request);
            Ok(())
        })?;
        self.exchange(service, endpoint, coding, message, options)
            .await
    }

    /// One call; `message` has gRPC's prefix, which other protocols leave out.
    async fn exchange(
        &self,
        service: &str,
        endpoint: &str,
        coding: Coding,
        message: Bytes,
        options: &CallOptions,
    ) -> Result<Bytes> {
        let answer = if self.is_layered(Some(options)) {
            let called = Called::call(service, endpoint, coding);
            let answer = self
                .through_layers(called, message.slice(PREFIX..), options)
                .await?;
            made_well(answer).map_err(|error| error.of_call(service, endpoint, 0))?
        } else {
            let headers = HeaderMap::new();
            self.exchange_bare(service, endpoint, coding, headers, message, options)
                .await?
        };
        // A layer may have made the answer: its body is still to be read.
        let limit = self.settings().largest;
        let body = http_body_util::Limited::new(answer.into_body(), limit);
        let read = body.collect().await;
        let whole = read
            .map_err(|error| Error::new(ErrorKind::Decode, "no whole answer").with_source(error))?;
        Ok(whole.to_bytes())
    }

    /// One call without layers.
    pub(crate) async fn exchange_bare(
        &self,
        service: &str,
        endpoint: &str,
        coding: Coding,
        headers: HeaderMap,
        message: Bytes,
        options: &CallOptions,
    ) -> Result<Response<Answer>> {
        let route = self.route_within(service, Some(options), &headers).await?;
        let largest = self.settings().largest;
        let heads = Heads::new(service, endpoint, coding, headers, Some(largest))?;
        let plan = Plan::ByNode(Box::new(heads));
        route
            .send(&plan, Outgoing::full(message), Some(options))
            .await
    }
}

/// A node's error is an error by now; a status that tells of one is a layer's.
fn made_well(answer: Response<Answer>) -> Result<Response<Answer>> {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(answer);
    }
    let error = Error::new(ErrorKind::Layer, format!("a layer answers {status}"));
    Err(error.with_code("waypost.client", status.as_u16()))
}

/// A message behind the room for gRPC's prefix, which is filled in.
pub(crate) fn framed(write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(256);
    bytes.put_bytes(0, PREFIX);
    write(&mut bytes)?;
    let length = u32::try_from(bytes.len() - PREFIX)
        .map_err(|_| Error::config("the request is longer than 4 GiB"))?;
    bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

pub(crate) fn write_json<Q: Serialize + ?Sized>(request: &Q, to: &mut BytesMut) -> Result<()> {
    serde_json::to_writer(to.writer(), request)
        .map_err(|error| Error::config("the request cannot be written as JSON").with_source(error))
}

/// An answer of nothing at all is taken for `null`, so that replies without content can be `()`.
pub(crate) fn read_json<R: DeserializeOwned>(answer: &[u8]) -> Result<R> {
    let text = if answer.is_empty() { b"null" } else { answer };
    serde_json::from_slice(text).map_err(|error| {
        let text = format!("the answer is not the JSON expected: {}", excerpt(answer));
        Error::new(ErrorKind::Decode, text)
            .with_sent(waypost_resilience::Sent::Answered)
            .with_source(error)
    })
}

#[cfg(feature = "prost")]
pub(crate) fn write_proto<Q: prost::Message>(request: &Q, to: &mut BytesMut) -> Result<()> {
    request
        .encode(to)
        .map_err(|error| Error::config("the request cannot be encoded").with_source(error))
}

#[cfg(feature = "prost")]
pub(crate) fn read_proto<R: prost::Message + Default>(answer: &[u8]) -> Result<R> {
    R::decode(answer).map_err(|error| {
        Error::new(
            ErrorKind::Decode,
            "the answer is not the protobuf message expected",
        )
        .with_sent(waypost_resilience::Sent::Answered)
        .with_source(error)
    })
}

/// The beginning of what a node sent, as a message may show it.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 80;
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{shown}\"{more}")
}
