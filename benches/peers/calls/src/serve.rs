//! The servers: three of HTTP/1.1 and three of gRPC, on one thread.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

/// What the HTTP servers say.
pub(crate) const SAID: &[u8] = b"hello, world\n";

/// Where servers listen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) grpc: Vec<SocketAddr>,
}

/// Serves until this process' input ends, and prints first where.
pub(crate) fn run(cpu: usize) -> Result<()> {
    waypost_figures::pin(cpu)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut http, mut grpc) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            http.push(listen(one).await?);
            grpc.push(listen(two).await?);
        }
        let line = serde_json::to_string(&Addresses { http, grpc })?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
        // Ends with whoever began the run, however that ended.
        let rest = || std::io::stdin().lock().read_to_end(&mut Vec::new());
        tokio::task::spawn_blocking(rest).await??;
        Ok(())
    })
}

async fn listen(serve: fn(TcpStream)) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Without it small answers wait for the client's delayed acknowledgement.
            if stream.set_nodelay(true).is_ok() {
                serve(stream);
            }
        }
    });
    Ok(address)
}

fn one(stream: TcpStream) {
    let answer = |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(SAID))))
    };
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::spawn(connection);
}

fn two(stream: TcpStream) {
    let connection = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service_fn(echo));
    tokio::spawn(connection);
}

/// Sends back the message that came.
async fn echo(
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let message = request.into_body().collect().await?.to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}
