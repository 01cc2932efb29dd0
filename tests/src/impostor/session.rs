//! An impostor that speaks ZooKeeper as far as opening a session.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Result;

use super::lock;

/// How it answers what comes after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With an error of the server's own.
    Error,
    /// With bytes that mean nothing.
    Garbage,
    /// With the begin of an answer.
    Truncated,
}

/// The timeout of every session, in milliseconds.
const TIMEOUT: i32 = 5_000;
/// The error: the server failed.
const SYSTEM_ERROR: i32 = -1;
/// Numbers of requests that a client sends by itself.
const PING: i32 = -2;
const AUTH: i32 = -4;
/// Longest request that is read.
const LONGEST: usize = 1 << 20;

pub(super) async fn serve(
    mut stream: TcpStream,
    answer: Answer,
    requests: &Mutex<Vec<Instant>>,
) -> Result<()> {
    let opening = frame(&mut stream).await?;
    let session = opening.get(16..24).ok_or("no request for a session")?;
    // Whoever has a session keeps it.
    let session = match i64::from_be_bytes(session.try_into()?) {
        0 => fastrand::i64(1..),
        session => session,
    };
    let mut opened = Vec::new();
    opened.extend(0_i32.to_be_bytes());
    opened.extend(TIMEOUT.to_be_bytes());
    opened.extend(session.to_be_bytes());
    opened.extend(16_i32.to_be_bytes());
    opened.extend([7; 16]);
    opened.push(0);
    send(&mut stream, &opened).await?;
    loop {
        let request = frame(&mut stream).await?;
        let number = request.get(..4).ok_or("a request without a number")?;
        let number = i32::from_be_bytes(number.try_into()?);
        if matches!(number, PING | AUTH) {
            send(&mut stream, &header(number, 0)).await?;
            continue;
        }
        lock(requests).push(Instant::now());
        match answer {
            Answer::Error => send(&mut stream, &header(number, SYSTEM_ERROR)).await?,
            Answer::Garbage => {
                let mut garbage = header(number, 0);
                // A list of a few names. The client would make room for any number that it is told.
                garbage.extend([0, 0, 0, fastrand::u8(1..)]);
                garbage.extend((0..60).map(|_| fastrand::u8(0x80..)));
                send(&mut stream, &garbage).await?;
            }
            Answer::Truncated => {
                stream.write_all(&100_i32.to_be_bytes()).await?;
                stream.write_all(&header(number, 0)).await?;
                return Ok(());
            }
        }
    }
}

async fn frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?)?;
    let mut frame = vec![0; length.min(LONGEST)];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(stream: &mut TcpStream, frame: &[u8]) -> Result<()> {
    stream.write_i32(i32::try_from(frame.len())?).await?;
    Ok(stream.write_all(frame).await?)
}

/// Number, transaction and error of an answer.
fn header(number: i32, error: i32) -> Vec<u8> {
    let mut header = number.to_be_bytes().to_vec();
    header.extend(0_i64.to_be_bytes());
    header.extend(error.to_be_bytes());
    header
}
