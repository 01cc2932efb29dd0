//! Other clients of HTTP/1.1.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::serve::SAID;
use crate::turn::{Caller, IN_FLIGHT};

/// Reads an answer, which is to be the servers'.
pub(crate) async fn checked<B>(response: Response<B>) -> Result<()>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    ensure!(response.status() == 200, "status {}", response.status());
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| anyhow::anyhow!(error.into()))?;
        length += frame.data_ref().map_or(0, Bytes::len);
    }
    ensure!(length == SAID.len(), "{length} bytes");
    Ok(())
}

/// A connection of its own for each: the least that a call can do.
pub(crate) struct Raw {
    sender: SendRequest<Empty<Bytes>>,
    uri: Uri,
    host: HeaderValue,
}

pub(crate) async fn raw(servers: &[SocketAddr]) -> Result<Vec<Raw>> {
    let mut callers = Vec::new();
    for server in servers.iter().cycle().take(IN_FLIGHT) {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        callers.push(Raw {
            sender,
            uri: Uri::from_static("/hello"),
            host: HeaderValue::from_str(&server.to_string())?,
        });
    }
    Ok(callers)
}

impl Caller for Raw {
    async fn call(&mut self) -> Result<()> {
        self.sender.ready().await?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        checked(self.sender.send_request(request).await?).await
    }
}

/// The three servers in turn.
struct Turns<T> {
    all: Vec<T>,
    next: usize,
}

impl<T> Turns<T> {
    fn new(all: Vec<T>, next: usize) -> Self {
        Self { all, next }
    }

    fn next(&mut self) -> &T {
        self.next = (self.next + 1) % self.all.len();
        &self.all[self.next]
    }
}

pub(crate) struct Pooled {
    client: legacy::Client<HttpConnector, Empty<Bytes>>,
    uris: Turns<Uri>,
}

pub(crate) fn pooled(servers: &[SocketAddr]) -> Result<Vec<Pooled>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let uri = |server: &SocketAddr| format!("http://{server}/hello").parse();
    let uris = servers.iter().map(uri).collect::<Result<Vec<Uri>, _>>()?;
    let caller = |number| Pooled {
        client: client.clone(),
        uris: Turns::new(uris.clone(), number),
    };
    Ok((0..IN_FLIGHT).map(caller).collect())
}

impl Caller for Pooled {
    async fn call(&mut self) -> Result<()> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uris.next().clone();
        checked(self.client.request(request).await?).await
    }
}

pub(crate) struct Reqwest {
    client: reqwest::Client,
    urls: Turns<reqwest::Url>,
}

pub(crate) fn reqwest(servers: &[SocketAddr]) -> Result<Vec<Reqwest>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = |server: &SocketAddr| format!("http://{server}/hello").parse();
    let urls = servers.iter().map(url);
    let urls = urls.collect::<Result<Vec<reqwest::Url>, _>>()?;
    let caller = |number| Reqwest {
        client: client.clone(),
        urls: Turns::new(urls.clone(), number),
    };
    Ok((0..IN_FLIGHT).map(caller).collect())
}

impl Caller for Reqwest {
    async fn call(&mut self) -> Result<()> {
        let response = self.client.get(self.urls.next().clone()).send().await?;
        checked(Response::from(response)).await
    }
}
