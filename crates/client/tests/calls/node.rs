//! Nodes: servers of this process that answer as they are told.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a node does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Answer,
    /// Answers with this status; gRPC's is this one's, at 200.
    Status(u16),
    /// Answers 500 to `/poison`, and else as it should.
    Poisoned,
    /// Never answers.
    Hang,
    /// Sends a head and a first part, and then nothing.
    HangInBody,
    /// Answers after a while.
    Slow(Duration),
    /// Sends a head at once, and the rest after a while.
    SlowBody(Duration),
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were taken.
    pub(crate) connections: AtomicU32,
    /// Connections that are open.
    pub(crate) open: AtomicU32,
    /// Requests that reached the handler.
    pub(crate) begun: AtomicU32,
    /// Requests that the handler has answered.
    pub(crate) done: AtomicU32,
    /// Requests whose handler was dropped before it answered.
    pub(crate) dropped: AtomicU32,
}

impl Counts {
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }
}

struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Notes whether a handler came to its end.
struct Handling(Arc<Counts>, bool);

impl Drop for Handling {
    fn drop(&mut self) {
        let end = if self.1 {
            &self.0.done
        } else {
            &self.0.dropped
        };
        end.fetch_add(1, Ordering::SeqCst);
    }
}

/// A node that serves.
pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) counts: Arc<Counts>,
    does: Arc<Mutex<Does>>,
    two: bool,
    task: Option<JoinHandle<()>>,
}

impl Node {
    pub(crate) async fn http() -> Self {
        Self::start(false).await
    }

    pub(crate) async fn of(grpc: bool) -> Self {
        Self::start(grpc).await
    }

    async fn start(two: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let mut node = Self {
            address: listener.local_addr().expect("address").to_string(),
            counts: Arc::default(),
            does: Arc::new(Mutex::new(Does::Answer)),
            two,
            task: None,
        };
        node.serve(listener);
        node
    }

    fn serve(&mut self, listener: TcpListener) {
        let (counts, does, two) = (Arc::clone(&self.counts), Arc::clone(&self.does), self.two);
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                counts.connections.fetch_add(1, Ordering::SeqCst);
                counts.open.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(
                    stream,
                    Arc::clone(&counts),
                    Arc::clone(&does),
                    two,
                ));
            }
        }));
    }

    /// From now on it does this.
    pub(crate) fn does(&self, what: Does) {
        *self.does.lock().expect("does") = what;
    }

    /// Everything ends at once: the listener, the connections, what runs.
    pub(crate) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        // The connections' tasks end on other threads.
        while self.counts.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// It is back at its address.
    pub(crate) async fn revive(&mut self) {
        let listener = TcpListener::bind(&self.address).await.expect("bind again");
        self.serve(listener);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn connection(stream: TcpStream, counts: Arc<Counts>, does: Arc<Mutex<Does>>, two: bool) {
    let _open = Open(Arc::clone(&counts));
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        counts.begun.fetch_add(1, Ordering::SeqCst);
        let what = *does.lock().expect("does");
        let handling = Handling(Arc::clone(&counts), false);
        async move { Ok::<_, Infallible>(handle(request, what, handling).await) }
    });
    let io = TokioIo::new(stream);
    if two {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(io, service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(io, service).await;
    }
}

async fn handle(request: Request<Incoming>, what: Does, mut handling: Handling) -> Response<Body> {
    let grpc = request.headers().contains_key("te");
    let path = request.uri().path().to_owned();
    let status = match what {
        Does::Hang => std::future::pending().await,
        Does::Slow(time) => {
            tokio::time::sleep(time).await;
            200
        }
        Does::Status(status) => status,
        Does::Poisoned if path == "/poison" => 500,
        _ => 200,
    };
    let sent = request.into_body().collect().await;
    let sent = sent.map(Collected::to_bytes).unwrap_or_default();
    handling.1 = true;
    let mut response = Response::new(body(what, sent, grpc, status));
    if !grpc {
        *response.status_mut() = status.try_into().expect("status");
    } else {
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        if status != 200 {
            let code = waypost_resilience::code::to_grpc(status);
            response
                .headers_mut()
                .insert("grpc-status", u16::from(code).into());
            *response.body_mut() = Full::default().boxed_unsync();
        }
    }
    response
}

fn body(what: Does, sent: Bytes, grpc: bool, status: u16) -> Body {
    if what == Does::HangInBody {
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]);
        let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        return StreamBody::new(frames).boxed_unsync();
    }
    let said = if status == 200 { sent } else { "no".into() };
    let mut frames = vec![Ok(Frame::data(said.clone()))];
    if grpc {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let frames = futures_util::stream::iter(frames);
    if let Does::SlowBody(time) = what {
        let late = async move {
            tokio::time::sleep(time).await;
            frames
        };
        return StreamBody::new(futures_util::FutureExt::flatten_stream(late)).boxed_unsync();
    }
    if grpc {
        return StreamBody::new(frames).boxed_unsync();
    }
    Full::new(said).boxed_unsync()
}

/// An address where nobody listens.
pub(crate) async fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address").to_string()
}

/// An address where no connection ever comes about: its queue is full, so that the kernel drops
/// what arrives.
pub(crate) struct BlackHole {
    pub(crate) address: String,
    _held: (TcpListener, Vec<JoinHandle<()>>),
}

impl BlackHole {
    pub(crate) async fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("socket");
        socket
            .bind("127.0.0.1:0".parse().expect("address"))
            .expect("bind");
        let listener = socket.listen(1).expect("listen");
        let address = listener.local_addr().expect("address");
        let fill = |_| {
            tokio::spawn(async move {
                let _stream = TcpStream::connect(address).await;
                std::future::pending::<()>().await;
            })
        };
        let held = (0..4).map(fill).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let trial = TcpStream::connect(address);
        let trial = tokio::time::timeout(Duration::from_millis(300), trial).await;
        assert!(trial.is_err(), "the black hole answers");
        Self {
            address: address.to_string(),
            _held: (listener, held),
        }
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        for task in &self._held.1 {
            task.abort();
        }
    }
}

/// What a node that speaks no proper HTTP sends once it has read something.
pub(crate) async fn scripted(said: &'static [u8], again: bool) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                while stream.write_all(said).await.is_ok() && again {}
            });
        }
    });
    (address, task)
}
