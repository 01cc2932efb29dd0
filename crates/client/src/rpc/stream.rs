//! Streams of messages, both ways.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use waypost_resilience::{AttemptTimeout, Sent};
use waypost_selector::Filter;

use super::{Coding, Heads, PREFIX, framed, message, read_json, write_json};
use crate::answer::Answer;
use crate::body::{BoxError, Outgoing};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::options::CallOptions;
use crate::plan::Plan;

/// Messages that wait to be sent; who sends more waits.
const WAITING: usize = 16;
/// No deadline: longer than anything runs.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Client {
    /// Opens a stream of JSON messages to an endpoint, both ways: [`CallOptions::timeout`] bounds all
    /// of it, and without it nothing does.
    ///
    /// Only nodes that speak gRPC (metadata `protocol=grpc`) have streams. Another node is tried only
    /// while nothing was sent; after that an error ends the stream.
    ///
    /// # Errors
    /// [`ErrorKind::NoneAvailable`] when no node speaks gRPC; else as [`Client::call`].
    ///
    /// # Cancel safety
    /// Safe. Dropping both halves of the stream gives it up.
    pub async fn stream(&self, service: &str, endpoint: &str) -> Result<Stream> {
        self.stream_with(service, endpoint, &CallOptions::new())
            .await
    }

    /// [`Client::stream`] with options.
    ///
    /// # Errors
    /// As [`Client::stream`].
    ///
    /// # Cancel safety
    /// As [`Client::stream`].
    pub async fn stream_with(
        &self,
        service: &str,
        endpoint: &str,
        options: &CallOptions,
    ) -> Result<Stream> {
        self.open_stream(service, endpoint, Coding::Json, options)
            .await
    }

    /// Opens a stream of protobuf messages: see [`Client::stream`].
    ///
    /// # Errors
    /// As [`Client::stream`].
    ///
    /// # Cancel safety
    /// As [`Client::stream`].
    #[cfg(feature = "prost")]
    pub async fn stream_proto(
        &self,
        service: &str,
        endpoint: &str,
        options: &CallOptions,
    ) -> Result<Stream> {
        self.open_stream(service, endpoint, Coding::Proto, options)
            .await
    }

    async fn open_stream(
        &self,
        service: &str,
        endpoint: &str,
        coding: Coding,
        options: &CallOptions,
    ) -> Result<Stream> {
        let none = HeaderMap::new();
        let route = self.route_within(service, Some(options), &none).await?;
        let heads = Heads::new(service, endpoint, coding, none, None)?;
        let head = heads.into_grpc()?;
        let retry = options.retry.clone();
        let retry = retry.unwrap_or_else(|| self.settings().retry.clone());
        let whole =
            AttemptTimeout::new(FAR, 1.0).map_err(|error| Error::config(error.to_string()))?;
        let mut options = options
            .clone()
            .with_retry(retry.with_attempt_timeout(whole))
            .with_filter(Filter::label("protocol", "grpc"));
        options.timeout.get_or_insert(FAR);
        options.endpoint.get_or_insert_with(|| endpoint.to_owned());
        let (sender, waiting) = mpsc::channel::<Bytes>(WAITING);
        let messages = stream::unfold(waiting, |mut waiting| async {
            let message = waiting.recv().await?;
            Some((Ok::<_, BoxError>(Frame::data(message)), waiting))
        });
        let body = Outgoing::new(StreamBody::new(messages));
        // A task of its own: what is sent goes out although nobody receives just then.
        let context = waypost_resilience::Context::current();
        let call = tokio::spawn(
            context.scope(async move { route.send(&Plan::Same(head), body, Some(&options)).await }),
        );
        let largest = self.settings().largest;
        Ok(Stream {
            sender: Sender {
                messages: sender,
                coding,
            },
            receiver: Receiver {
                answer: Answering::Waited(Owned(call)),
                coding,
                largest,
                read: BytesMut::new(),
            },
        })
    }
}

/// A stream of messages, both ways.
#[derive(Debug)]
pub struct Stream {
    sender: Sender,
    receiver: Receiver,
}

impl Stream {
    /// Sends a message; waits while sixteen are not sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Transport`] when the stream has ended: [`Stream::recv`] tells why.
    ///
    /// # Cancel safety
    /// Safe: the message is sent whole or not at all.
    pub async fn send<Q: Serialize + ?Sized>(&mut self, message: &Q) -> Result<()> {
        self.sender.send(message).await
    }

    /// Receives the next message; `None` when the node has ended the stream well.
    ///
    /// # Errors
    /// What broke the stream, or the node's own error.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn recv<R: DeserializeOwned>(&mut self) -> Result<Option<R>> {
        self.receiver.recv().await
    }

    /// Says that nothing more is sent, and gives the half that still receives.
    #[must_use]
    pub fn close(self) -> Receiver {
        self.receiver
    }

    /// Both halves, for two tasks. Dropping the sending one says that nothing more is sent.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// The sending half of a [`Stream`]. Dropping it says that nothing more is sent.
#[derive(Debug)]
pub struct Sender {
    messages: mpsc::Sender<Bytes>,
    coding: Coding,
}

impl Sender {
    /// As [`Stream::send`].
    ///
    /// # Errors
    /// As [`Stream::send`].
    ///
    /// # Cancel safety
    /// As [`Stream::send`].
    pub async fn send<Q: Serialize + ?Sized>(&mut self, message: &Q) -> Result<()> {
        self.expect(Coding::Json)?;
        self.push(framed(|bytes| write_json(message, bytes))?).await
    }

    /// Sends a protobuf message.
    ///
    /// # Errors
    /// As [`Stream::send`].
    ///
    /// # Cancel safety
    /// As [`Stream::send`].
    #[cfg(feature = "prost")]
    pub async fn send_proto<Q: prost::Message>(&mut self, message: &Q) -> Result<()> {
        self.expect(Coding::Proto)?;
        self.push(framed(|bytes| super::write_proto(message, bytes))?)
            .await
    }

    fn expect(&self, coding: Coding) -> Result<()> {
        matches(self.coding, coding)
    }

    async fn push(&self, message: Bytes) -> Result<()> {
        self.messages.send(message).await.map_err(|_| {
            Error::new(
                ErrorKind::Transport,
                "the stream has ended; receiving tells why",
            )
        })
    }
}

fn matches(stream: Coding, asked: Coding) -> Result<()> {
    if stream == asked {
        return Ok(());
    }
    Err(Error::config(format!(
        "the stream was opened for {stream:?} messages, not {asked:?}"
    )))
}

/// The receiving half of a [`Stream`].
pub struct Receiver {
    answer: Answering,
    coding: Coding,
    largest: usize,
    /// What came of the next message.
    read: BytesMut,
}

enum Answering {
    Waited(Owned),
    Coming(Box<Response<Answer>>),
    Ended,
}

/// A task that ends with whoever waits for it.
struct Owned(JoinHandle<Result<Response<Answer>>>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Receiver {
    /// As [`Stream::recv`].
    ///
    /// # Errors
    /// As [`Stream::recv`].
    ///
    /// # Cancel safety
    /// As [`Stream::recv`].
    pub async fn recv<R: DeserializeOwned>(&mut self) -> Result<Option<R>> {
        matches(self.coding, Coding::Json)?;
        match self.next().await? {
            Some(message) => read_json(&message).map(Some),
            None => Ok(None),
        }
    }

    /// Receives the next protobuf message.
    ///
    /// # Errors
    /// As [`Stream::recv`].
    ///
    /// # Cancel safety
    /// As [`Stream::recv`].
    #[cfg(feature = "prost")]
    pub async fn recv_proto<R: prost::Message + Default>(&mut self) -> Result<Option<R>> {
        matches(self.coding, Coding::Proto)?;
        match self.next().await? {
            Some(message) => super::read_proto(&message).map(Some),
            None => Ok(None),
        }
    }

    /// The next message's bytes. An error ends the stream.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.frames().await;
        if !matches!(next, Ok(Some(_))) {
            self.answer = Answering::Ended;
        }
        next
    }

    async fn frames(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = take_message(&mut self.read, self.largest)? {
                return Ok(Some(message));
            }
            match &mut self.answer {
                Answering::Ended => return Ok(None),
                Answering::Waited(call) => {
                    let answer = (&mut call.0).await;
                    let answer = answer.map_err(|error| {
                        Error::new(ErrorKind::Transport, "the stream's task is gone")
                            .with_source(error)
                    })??;
                    if let Some(error) = message::stream_error(answer.status(), answer.headers()) {
                        return Err(error);
                    }
                    self.answer = Answering::Coming(Box::new(answer));
                }
                Answering::Coming(answer) => match answer.body_mut().frame().await {
                    None => return self.ended(),
                    Some(Err(error)) => return Err(broken(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.read.extend_from_slice(&data),
                        Err(frame) => {
                            let trailers = frame.into_trailers().unwrap_or_default();
                            if let Some(error) = message::grpc_error(&trailers) {
                                return Err(error);
                            }
                        }
                    },
                },
            }
        }
    }

    fn ended(&self) -> Result<Option<Bytes>> {
        if self.read.is_empty() {
            return Ok(None);
        }
        let text = "the stream ended within a message";
        Err(Error::new(ErrorKind::Transport, text).with_sent(Sent::Maybe))
    }
}

fn broken(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::Transport, "the stream broke off").with_source(error),
    }
}

/// The first whole message of what was read.
fn take_message(read: &mut BytesMut, largest: usize) -> Result<Option<Bytes>> {
    let Some(prefix) = read.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let fault = |text: String| Error::new(ErrorKind::Decode, text).with_sent(Sent::Answered);
    if prefix[0] != 0 {
        return Err(fault(
            "a message is compressed, which nobody asked for".into(),
        ));
    }
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    if length > largest {
        return Err(fault(format!(
            "a message is longer than {largest} bytes (`largest_answer`)"
        )));
    }
    if read.len() < PREFIX + length {
        return Ok(None);
    }
    read.advance(PREFIX);
    Ok(Some(read.split_to(length).freeze()))
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            Answering::Waited(_) => "waited for",
            Answering::Coming(_) => "coming",
            Answering::Ended => "ended",
        };
        f.debug_struct("Receiver")
            .field("answer", &answer)
            .field("coding", &self.coding)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_where_they_end_however_they_come() {
        let one = framed(|bytes| write_json("ab", bytes)).expect("framed");
        let all: Vec<u8> = [&one[..], &one[..]].concat();
        for cut in 0..all.len() {
            let mut read = BytesMut::from(&all[..cut]);
            let mut seen = Vec::new();
            for part in [&all[cut..], &[]] {
                while let Some(message) = take_message(&mut read, 64).expect("well formed") {
                    seen.push(message);
                }
                read.extend_from_slice(part);
            }
            while let Some(message) = take_message(&mut read, 64).expect("well formed") {
                seen.push(message);
            }
            assert_eq!(seen, ["\"ab\"", "\"ab\""], "cut at {cut}");
        }
        let mut long = BytesMut::from(&[0, 0, 0, 0, 65][..]);
        let error = take_message(&mut long, 64).expect_err("too long");
        assert!(error.to_string().contains("64 bytes"), "{error}");
    }
}
