//! A server that is not the one it stands for: it answers everything wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::Result;

mod session;
mod web;

pub use session::Answer;
pub use web::{Asked, Reply, Web, zeros};

/// How it answers every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// HTTP/2, with this status and `retry-after: 2`.
    Status(u16),
    /// HTTP/2, gRPC with this status in the trailers.
    Grpc(u8),
    /// HTTP/2, gRPC with a message that is none.
    Garbage,
    /// HTTP/2, gRPC with a message that breaks off.
    Truncated,
    /// HTTP/2, gRPC with a message of one GiB.
    Flood,
    /// HTTP/1.1, with this status and a page.
    Page(u16),
    /// HTTP/1.1, with a page of one GiB.
    EndlessPage,
    /// No protocol at all.
    Noise,
    /// Nothing: it takes the request and closes the connection.
    Hangup,
    /// ZooKeeper's protocol: it opens a session, and answers all else like this.
    Session(Answer),
}

/// Bytes of a flood.
const FLOOD: usize = 1 << 30;
const PART: usize = 16 * 1024;

/// A running impostor. Dropping it ends it.
#[derive(Debug)]
pub struct Impostor {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    requests: Arc<Mutex<Vec<Instant>>>,
    task: AbortHandle,
}

impl Impostor {
    /// Starts to answer in this manner.
    ///
    /// # Errors
    /// When there is no port.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (manner, told) = watch::channel(manner);
        let requests: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let noted = Arc::clone(&requests);
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (told, noted) = (told.clone(), Arc::clone(&noted));
                connections.spawn(async move {
                    // A client that goes away is no failure of ours.
                    let _ = answer(stream, told, &noted).await;
                });
                while connections.try_join_next().is_some() {}
            }
        };
        Ok(Self {
            address,
            manner,
            requests,
            task: tokio::spawn(serving).abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers in another manner from the next connection on.
    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// When requests came (where no protocol is spoken for long, connections).
    #[must_use]
    pub fn requests(&self) -> Vec<Instant> {
        lock(&self.requests).clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(requests: &Mutex<Vec<Instant>>) -> std::sync::MutexGuard<'_, Vec<Instant>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    stream: TcpStream,
    manner: watch::Receiver<Manner>,
    requests: &Mutex<Vec<Instant>>,
) -> Result<()> {
    let now = *manner.borrow();
    match now {
        Manner::Page(status) => page(stream, status, requests).await,
        Manner::EndlessPage => endless_page(stream, requests).await,
        Manner::Noise => noise(stream, requests).await,
        Manner::Hangup => received(stream, requests).await.map(drop),
        Manner::Session(answer) => session::serve(stream, answer, requests).await,
        _ => http2(stream, now, requests).await,
    }
}

async fn http2(stream: TcpStream, manner: Manner, requests: &Mutex<Vec<Instant>>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut answers = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        lock(requests).push(Instant::now());
        answers.spawn(async move {
            let _request = request;
            let _ = respond_with(manner, respond).await;
        });
        while answers.try_join_next().is_some() {}
    }
    Ok(())
}

async fn respond_with(manner: Manner, mut respond: SendResponse<Bytes>) -> Result<()> {
    let head = Response::builder();
    let grpc = head.header("content-type", "application/grpc");
    match manner {
        Manner::Status(status) => {
            let head = Response::builder()
                .status(StatusCode::from_u16(status)?)
                .header("retry-after", "2");
            respond.send_response(head.body(())?, true)?;
        }
        Manner::Grpc(status) => {
            let head = grpc
                .header("grpc-status", status.to_string())
                .header("grpc-message", "an impostor answers");
            respond.send_response(head.body(())?, true)?;
        }
        Manner::Garbage => {
            let mut message = vec![0, 0, 0, 0, 64];
            message.extend((0..64).map(|_| fastrand::u8(..)));
            let mut body = respond.send_response(grpc.body(())?, false)?;
            body.send_data(message.into(), true)?;
        }
        Manner::Truncated => {
            let mut body = respond.send_response(grpc.body(())?, false)?;
            body.send_data(Bytes::from_static(&[0, 0, 0, 4, 0, 10, 3, b'a']), true)?;
        }
        _ => {
            let mut body = respond.send_response(grpc.body(())?, false)?;
            let length = u32::try_from(FLOOD)?.to_be_bytes();
            let start = [&[0][..], &length].concat();
            body.send_data(start.into(), false)?;
            let mut left = FLOOD;
            while left > 0 {
                body.reserve_capacity(PART);
                let granted = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                let part = granted.ok_or("the client went away")??.min(left);
                body.send_data(Bytes::from(vec![b'x'; part]), left == part)?;
                left -= part;
            }
        }
    }
    Ok(())
}

async fn page(stream: TcpStream, status: u16, requests: &Mutex<Vec<Instant>>) -> Result<()> {
    let mut stream = received(stream, requests).await?;
    let body = "<!doctype html><title>Service Unavailable</title><h1>Service Unavailable</h1>";
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: text/html\r\nretry-after: 2\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

async fn endless_page(stream: TcpStream, requests: &Mutex<Vec<Instant>>) -> Result<()> {
    let mut stream = received(stream, requests).await?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let part = vec![b'x'; PART];
    for _ in 0..FLOOD / PART {
        stream.write_all(&part).await?;
    }
    Ok(())
}

async fn noise(stream: TcpStream, requests: &Mutex<Vec<Instant>>) -> Result<()> {
    let mut stream = received(stream, requests).await?;
    let noise: Vec<u8> = (0..4096).map(|_| fastrand::u8(..)).collect();
    stream.write_all(&noise).await?;
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

/// Takes whatever the client begins with.
async fn received(mut stream: TcpStream, requests: &Mutex<Vec<Instant>>) -> Result<TcpStream> {
    lock(requests).push(Instant::now());
    let mut begin = [0; 1024];
    let _ = timeout(Duration::from_millis(500), stream.read(&mut begin)).await;
    Ok(stream)
}

/// Asks for a page by plain HTTP/1.0.
///
/// # Errors
/// When the server does not answer within 5 s.
///
/// # Cancel safety
/// Safe.
pub async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    timeout(Duration::from_secs(5), asking).await?
}
