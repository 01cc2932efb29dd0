//! Sessions of others, ended as an administrator with ZooKeeper's own tools would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Result;

/// What the server mixes into the passwords that it gives out; the same in every ZooKeeper.
const SECRET: i64 = 0xB341_5C00;
/// Longest time that the server may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the owner may be quicker.
const TRIES: usize = 20;
/// Bytes of the answer to the first packet, its length included.
const OPENED: usize = 41;
/// The request to close a session, and its number on the wire.
const CLOSE: [i32; 2] = [1, -11];

/// Takes the session with this id over, and closes it in the same breath. Its owner takes it back
/// as soon as it can, and may be quicker.
pub(super) async fn close(address: SocketAddr, id: i64) -> Result<()> {
    let mut packets = framed(&connect(id));
    packets.extend(framed(&CLOSE.map(i32::to_be_bytes).concat()));
    for attempt in 0..TRIES {
        let answer = timeout(LIMIT, exchange(address, &packets)).await;
        let answer = answer.map_err(|_| "the server does not answer")?;
        // Length, protocol and timeout stand before it; what follows is the answer to the close.
        let told = answer.get(12..20).and_then(|bytes| bytes.try_into().ok());
        match told.map(i64::from_be_bytes) {
            Some(told) if told == id && answer.len() > OPENED => return Ok(()),
            // What was closed before its answer came is known no more.
            Some(0) if attempt > 0 => return Ok(()),
            Some(0) => return Err(format!("the server does not know session {id:#x}").into()),
            _ => {}
        }
    }
    Err(format!("session {id:#x} was taken back {TRIES} times").into())
}

/// Everything that the server says to this, up to the end of the connection however it comes.
async fn exchange(address: SocketAddr, packets: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(packets).await?;
        stream.read_to_end(&mut answer).await
    };
    // A session that is taken back ends the connection hard.
    let _ = talk.await;
    answer
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let length = i32::try_from(packet.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes(), packet].concat()
}

fn connect(id: i64) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(0_i32.to_be_bytes()); // protocol
    packet.extend(0_i64.to_be_bytes()); // last transaction seen
    packet.extend(4_000_i32.to_be_bytes()); // timeout
    packet.extend(id.to_be_bytes());
    packet.extend(16_i32.to_be_bytes());
    packet.extend(password(id));
    packet.push(0); // not for reading only
    packet
}

/// The password that the server gave out with the session: sixteen bytes of Java's generator,
/// seeded with the id.
fn password(id: i64) -> Vec<u8> {
    const FACTOR: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((id ^ SECRET) as u64 ^ FACTOR) & MASK;
    let mut bytes = Vec::with_capacity(16);
    while bytes.len() < 16 {
        state = state.wrapping_mul(FACTOR).wrapping_add(0xB) & MASK;
        bytes.extend(((state >> 16) as u32).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_of_javas_generator() {
        // new Random(42).nextBytes(bytes)
        let id = 42 ^ SECRET;
        assert_eq!(
            password(id)[..8],
            [0x35, 0xb4, 0x41, 0xba, 0x6c, 0x05, 0x8c, 0xf1][..]
        );
    }
}
