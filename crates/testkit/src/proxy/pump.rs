//! Moves the bytes of one connection, through the faults of each direction.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Link, Manner, State};

/// Bytes a read.
const CHUNK: usize = 16 << 10;
/// Reads that may be on their way at once: the memory of a slow link.
const ON_THE_WAY: usize = 64;

/// Closes with a reset instead of an end.
pub(super) fn reset(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = stream.set_zero_linger();
}

/// Pumps both ways until both ends are through, one is cut, or a reset is asked for.
pub(super) async fn join(
    mut client: TcpStream,
    mut upstream: TcpStream,
    state: watch::Receiver<State>,
    generation: u64,
) {
    // Slices are to arrive as slices.
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let mut asked = state.clone();
    let is_reset = {
        let (client_read, client_write) = client.split();
        let (upstream_read, upstream_write) = upstream.split();
        let up = pump(client_read, upstream_write, state.clone(), |state| {
            &state.up
        });
        let down = pump(upstream_read, client_write, state, |state| &state.down);
        tokio::select! {
            through = async { tokio::try_join!(up, down) } => {
                through.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
            }
            _ = asked.wait_for(|state| state.generation != generation) => true,
        }
    };
    if is_reset {
        reset(&client);
        reset(&upstream);
    }
}

type Chunk = (Instant, Vec<u8>);

/// One direction: a reader that stamps chunks with their arrival, a writer that waits for it.
async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    state: watch::Receiver<State>,
    link: fn(&State) -> &Link,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(ON_THE_WAY);
    let reading = read(from, sender, state.clone(), link);
    let writing = write(to, receiver, state, link);
    tokio::try_join!(reading, writing).map(|_| ())
}

async fn read(
    mut from: ReadHalf<'_>,
    sender: mpsc::Sender<Chunk>,
    state: watch::Receiver<State>,
    link: fn(&State) -> &Link,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await?;
        let (delay, garbage) = {
            let state = state.borrow();
            let link = link(&state);
            let last = if count == 0 {
                link.slow_close
            } else {
                Duration::ZERO
            };
            (link.delay() + last, link.garbage.clone())
        };
        let bytes = match garbage {
            Some(garbage) if count > 0 => garbage.to_vec(),
            _ => buffer[..count].to_vec(),
        };
        // An empty chunk is the end of the stream, delayed like any other.
        if sender.send((Instant::now() + delay, bytes)).await.is_err() || count == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut receiver: mpsc::Receiver<Chunk>,
    mut state: watch::Receiver<State>,
    link: fn(&State) -> &Link,
) -> io::Result<()> {
    let mut passed = 0;
    while let Some((arrival, bytes)) = receiver.recv().await {
        sleep_until(arrival).await;
        forwarding(&mut state).await;
        if bytes.is_empty() {
            break;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let shape = link(&state.borrow()).clone();
            let size = piece(&shape, rest.len(), passed)?;
            let (now, later) = rest.split_at(size);
            to.write_all(now).await?;
            (rest, passed) = (later, passed + size as u64);
            pace(&shape, size).await;
            forwarding(&mut state).await;
        }
    }
    to.shutdown().await
}

/// Waits while everything is held.
async fn forwarding(state: &mut watch::Receiver<State>) {
    // Without a sender the proxy is gone, and this task with it.
    let _ = state.wait_for(|state| state.manner != Manner::Hold).await;
}

/// How much may be written at once; an error once the limit is reached.
fn piece(link: &Link, wanted: usize, passed: u64) -> io::Result<usize> {
    let left = link
        .limit
        .map_or(u64::MAX, |limit| limit.saturating_sub(passed));
    if left == 0 {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    let slow = link
        .bandwidth
        .map_or(usize::MAX, |bytes| (bytes as usize / 50).max(1));
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    Ok(wanted
        .min(left)
        .min(slow)
        .min(link.slice.unwrap_or(usize::MAX)))
}

async fn pace(link: &Link, size: usize) {
    if let Some(bandwidth) = link.bandwidth {
        sleep(Duration::from_secs_f64(size as f64 / f64::from(bandwidth))).await;
    }
    if link.slice.is_some() {
        sleep(Duration::from_millis(1)).await;
    }
}
