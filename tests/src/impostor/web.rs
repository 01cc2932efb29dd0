//! An HTTP/1.1 server whose every answer a script gives.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::Result;

use super::{FLOOD, PART};

/// What it answers. Connections stay open after whole answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status, headers (each ends with `\r\n`) and a body.
    Says(u16, &'static str, Bytes),
    /// Half of what was announced, and the end.
    Half(Bytes),
    /// 200 and a body of one GiB.
    Flood,
    /// 200 and a small body that unpacks to as much.
    Packed,
    /// No protocol at all.
    Noise,
    /// Nothing, for ever.
    Silence,
}

impl Reply {
    /// 200 with headers and a body.
    pub fn good(headers: &'static str, body: impl fmt::Display) -> Self {
        Self::Says(200, headers, body.to_string().into())
    }
}

/// A request by its first line, without the protocol: `GET /v1/health/service/orders?index=1`.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When it came.
    pub at: Instant,
    /// What it asks for.
    pub line: String,
}

type Script = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    play: Arc<Play>,
    task: AbortHandle,
}

struct Play {
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Play")
    }
}

impl Web {
    /// Starts to answer by this script, which is given the first line of each request.
    ///
    /// # Errors
    /// When there is no port.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn start(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let play = Arc::new(Play {
            script: Mutex::new(Arc::new(script)),
            asked: Mutex::default(),
        });
        let shared = Arc::clone(&play);
        let serving = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let play = Arc::clone(&shared);
                connections.spawn(async move {
                    // A client that goes away is no failure of ours.
                    let _ = serve(stream, &play).await;
                });
                while connections.try_join_next().is_some() {}
            }
        };
        Ok(Self {
            address,
            play,
            task: tokio::spawn(serving).abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers by another script from now on.
    pub fn set(&self, script: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        let place = self.play.script.lock();
        *place.unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// All requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.play.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When requests came whose first lines have this part.
    #[must_use]
    pub fn times(&self, part: &str) -> Vec<Instant> {
        let asked = self.asked().into_iter();
        let meant = asked.filter(|asked| asked.line.contains(part));
        meant.map(|asked| asked.at).collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Play {
    fn answer(&self, line: &str) -> Reply {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let script = Arc::clone(&script);
        let asked = self.asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner).push(Asked {
            at: Instant::now(),
            line: line.to_owned(),
        });
        script(line)
    }
}

async fn serve(stream: TcpStream, play: &Play) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(line) = read(&mut stream).await? {
        match play.answer(&line) {
            Reply::Says(status, headers, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            Reply::Half(body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                return stream.write_all(&body[..length / 2]).await;
            }
            Reply::Flood => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let part = vec![b'x'; PART];
                for _ in 0..FLOOD / PART {
                    stream.write_all(&part).await?;
                }
            }
            Reply::Packed => {
                // The head of a gzip file.
                let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
                body.extend(zeros(false, FLOOD >> 20));
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            Reply::Noise => {
                let noise: Vec<u8> = (0..4096).map(|_| fastrand::u8(..)).collect();
                return stream.write_all(&noise).await;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
    Ok(())
}

/// Reads a request; gives its first line without the protocol.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let line = head.lines().next().unwrap_or_default();
    Ok(Some(line.trim_end_matches(" HTTP/1.1").to_owned()))
}

/// So many MiB of zeros, packed about a thousand times smaller, without an end: by zlib with its
/// head, or without.
#[must_use]
pub fn zeros(headed: bool, mebibytes: usize) -> Vec<u8> {
    let block = vec![0; 1 << 20];
    let mut compress = Compress::new(Compression::best(), headed);
    let mut one = || {
        let mut packed = Vec::with_capacity(16 * 1024);
        // There is room for all of it, so that one step is enough.
        let _ = compress.compress_vec(&block, &mut packed, FlushCompress::Sync);
        packed
    };
    // From the second on all blocks are alike: each repeats zeros of before.
    let (mut all, next) = (one(), one());
    for _ in 1..mebibytes {
        all.extend_from_slice(&next);
    }
    all
}
