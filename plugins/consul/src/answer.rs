//! What agents answer, read to a limit.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{Fault, How};

/// Largest answer, unpacked: about 13 000 instances of one service.
const MAX_BODY: usize = 32 << 20;
/// What is larger is read one answer after the other: of many endless ones at once each may come to
/// the limit, and all of them to as much as one.
const LARGE: usize = 1 << 20;
/// As much of an error's text as is looked at.
const MAX_TEXT: usize = 4096;

const INDEX: &str = "x-consul-index";
const HASH: &str = "x-consul-contenthash";
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// What an agent answered.
#[derive(Debug)]
pub(crate) struct Answer {
    peer: Arc<str>,
    pub(crate) status: StatusCode,
    /// The index to block on next; at least 1, else a query with it would not block.
    pub(crate) index: u64,
    /// The hash to block on next, where the agent itself answers.
    pub(crate) hash: Option<String>,
    /// Whether the agent says that it left out what the token may not read (newer ones do).
    pub(crate) filtered: bool,
    /// How long it asks to be left alone.
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads an answer of `peer`, whatever its status. Large ones wait for their turn of `large`.
    ///
    /// # Cancel safety
    /// Safe: the rest is not read.
    pub(crate) async fn read(
        peer: &Arc<str>,
        mut response: Response,
        large: &Semaphore,
    ) -> Result<Self, How> {
        let status = response.status();
        let header = |name| response.headers().get(name)?.to_str().ok();
        let index = header(INDEX).and_then(|index| index.parse().ok());
        let hash = header(HASH).map(str::to_owned);
        let filtered = header(FILTERED) == Some("true");
        // A date in it would need a clock that both agree on.
        let retry_after = header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            peer: Arc::clone(peer),
            status,
            index: index.unwrap_or(0).max(1),
            hash,
            filtered,
            retry_after: retry_after.map(Duration::from_secs),
            body: body(&mut response, large).await?,
        })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| self.failed(How::Garbage(error)))
    }

    /// `host:port` of the agent that answered.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// The first line of the body, for errors.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(MAX_TEXT)]);
        let line = text.lines().find(|line| !line.trim().is_empty());
        line.unwrap_or_default().trim().to_owned()
    }

    /// The answer as a failure.
    pub(crate) fn fault(&self) -> Fault {
        self.failed(How::Status {
            status: self.status,
            text: self.text(),
            retry_after: self.retry_after,
        })
    }

    /// Anything but 200 is a fault.
    pub(crate) fn good(self) -> Result<Self, Fault> {
        if self.status == StatusCode::OK {
            return Ok(self);
        }
        Err(self.fault())
    }

    fn failed(&self, how: How) -> Fault {
        let peer = Arc::clone(&self.peer);
        Fault { peer, how }
    }
}

async fn body(response: &mut Response, large: &Semaphore) -> Result<Vec<u8>, How> {
    let mut body: Vec<u8> = Vec::new();
    let mut turn: Option<SemaphorePermit<'_>> = None;
    while let Some(chunk) = response.chunk().await.map_err(How::Transport)? {
        let size = body.len() + chunk.len();
        if size > MAX_BODY {
            return Err(How::TooLarge(MAX_BODY));
        }
        if size > LARGE && turn.is_none() {
            // Never closed: it lives and dies with the agents.
            turn = large.acquire().await.ok();
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
