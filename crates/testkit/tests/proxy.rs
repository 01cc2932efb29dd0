//! What the proxy does to real sockets.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use waypost_testkit::proxy::{Direction, Link, Manner, Proxy};

use sockets::{MOMENT, SOON, echo, is_reset, is_silent, proxied, say};

#[cfg(test)]
mod sockets {
    use super::*;

    pub(crate) const SOON: Duration = Duration::from_secs(5);
    pub(crate) const MOMENT: Duration = Duration::from_millis(150);

    /// A server that sends back what it gets, with `mark` before each piece.
    pub(crate) async fn echo(mark: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        let answer = [mark, &buffer[..count]].concat();
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    pub(crate) async fn proxied() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo(b"").await).await.expect("proxy");
        let client = TcpStream::connect(proxy.address()).await.expect("connect");
        (proxy, client)
    }

    pub(crate) async fn say(client: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        client.write_all(text).await.expect("write");
        let mut answer = vec![0; text.len()];
        let read = timeout(SOON, client.read_exact(&mut answer)).await;
        read.expect("an answer in time").expect("an answer");
        answer
    }

    /// Nothing comes for a moment, and the connection stays.
    pub(crate) async fn is_silent(client: &mut TcpStream) -> bool {
        timeout(MOMENT, client.read(&mut [0])).await.is_err()
    }

    pub(crate) async fn is_reset(client: &mut TcpStream) -> bool {
        let read = timeout(SOON, client.read(&mut [0; 64]))
            .await
            .expect("in time");
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }
}

#[tokio::test]
async fn bytes_pass_unharmed_in_both_directions() {
    let (proxy, mut client) = proxied().await;
    let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut read, mut write) = client.split();
    let mut answer = vec![0; large.len()];
    let (written, read) = tokio::join!(write.write_all(&large), read.read_exact(&mut answer));
    written.and(read.map(|_| ())).expect("echo");
    assert_eq!(answer, large);
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    drop(client);
    timeout(SOON, async {
        while proxy.open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a closed connection is closed on both sides");
}

#[tokio::test]
async fn latency_delays_bytes_of_an_open_connection_and_keeps_their_order() {
    let (proxy, mut client) = proxied().await;
    let link = Link::default()
        .with_latency(MOMENT)
        .with_jitter(Duration::from_millis(50));
    proxy.shape(Direction::Down, link);
    let start = Instant::now();
    assert_eq!(say(&mut client, b"abc").await, b"abc");
    assert!(
        start.elapsed() >= Duration::from_millis(95),
        "{:?}",
        start.elapsed()
    );
    for number in 0..20_u8 {
        client.write_all(&[number]).await.expect("write");
    }
    let mut all = [0; 20];
    client.read_exact(&mut all).await.expect("read");
    assert!(all.is_sorted(), "{all:?}");
    proxy.mend();
    let start = Instant::now();
    say(&mut client, b"abc").await;
    assert!(start.elapsed() < MOMENT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn bandwidth_is_limited() {
    let (proxy, mut client) = proxied().await;
    proxy.shape(Direction::Up, Link::default().with_bandwidth(10_000));
    let start = Instant::now();
    say(&mut client, &[7; 2000]).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(180) && took < Duration::from_secs(2),
        "{took:?}"
    );
}

#[tokio::test]
async fn what_is_held_is_silent_and_goes_on_afterwards() {
    let (proxy, mut client) = proxied().await;
    proxy.behave(Manner::Hold);
    client.write_all(b"abc").await.expect("write");
    assert!(is_silent(&mut client).await);
    let mut late = TcpStream::connect(proxy.address())
        .await
        .expect("is accepted");
    late.write_all(b"xyz").await.expect("write");
    assert!(is_silent(&mut late).await);
    proxy.behave(Manner::Forward);
    let mut answer = [0; 3];
    timeout(SOON, client.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(&answer, b"abc");
    timeout(SOON, late.read_exact(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(&answer, b"xyz");
}

#[tokio::test]
async fn open_connections_are_reset_and_new_ones_pass() {
    let (proxy, mut client) = proxied().await;
    say(&mut client, b"abc").await;
    proxy.reset();
    assert!(is_reset(&mut client).await);
    let mut client = TcpStream::connect(proxy.address()).await.expect("connect");
    assert_eq!(say(&mut client, b"abc").await, b"abc");
}

#[tokio::test]
async fn new_connections_are_reset_too_when_asked() {
    let (proxy, mut client) = proxied().await;
    proxy.behave(Manner::Reset);
    assert!(is_reset(&mut client).await);
    // The reset may come before or after the connection is told to be there.
    if let Ok(mut late) = TcpStream::connect(proxy.address()).await {
        let _ = late.write_all(b"abc").await;
        assert!(
            timeout(SOON, late.read(&mut [0]))
                .await
                .expect("in time")
                .is_err()
        );
    }
}

#[tokio::test]
async fn refused_connections_come_back_on_the_same_port() {
    let (proxy, mut client) = proxied().await;
    for _ in 0..5 {
        proxy.behave(Manner::Refuse);
        assert!(is_reset(&mut client).await);
        let refused = timeout(SOON, async {
            loop {
                match TcpStream::connect(proxy.address()).await {
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        refused.await.expect("new connections are refused");
        proxy.behave(Manner::Forward);
        client = timeout(SOON, async {
            loop {
                if let Ok(client) = TcpStream::connect(proxy.address()).await {
                    return client;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the port is back");
        assert_eq!(say(&mut client, b"abc").await, b"abc");
    }
}

#[tokio::test]
async fn slices_arrive_one_by_one() {
    let (proxy, mut client) = proxied().await;
    proxy.shape(Direction::Down, Link::default().with_slice(2));
    client.write_all(b"abcdefghij").await.expect("write");
    let (mut buffer, mut sizes) = ([0; 64], Vec::new());
    while sizes.iter().sum::<usize>() < 10 {
        sizes.push(client.read(&mut buffer).await.expect("read"));
    }
    assert!(sizes.len() > 1 && sizes[0] <= 4, "{sizes:?}");
}

#[tokio::test]
async fn garbage_takes_the_place_of_an_answer() {
    let (proxy, mut client) = proxied().await;
    proxy.shape(Direction::Down, Link::default().with_garbage(*b"<html>"));
    client.write_all(b"abc").await.expect("write");
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.expect("read");
    assert_eq!(&answer, b"<html>");
}

#[tokio::test]
async fn a_connection_is_cut_after_its_limit() {
    let (proxy, mut client) = proxied().await;
    proxy.shape(Direction::Down, Link::default().with_limit(4));
    client.write_all(b"abcdefgh").await.expect("write");
    let mut all = Vec::new();
    let _ = timeout(SOON, client.read_to_end(&mut all))
        .await
        .expect("it ends");
    assert_eq!(all, b"abcd");
}

#[tokio::test]
async fn the_end_of_a_stream_can_come_late() {
    let (proxy, mut client) = proxied().await;
    proxy.shape(Direction::Up, Link::default().with_slow_close(MOMENT));
    client.shutdown().await.expect("shutdown");
    let start = Instant::now();
    let count = timeout(SOON, client.read(&mut [0]))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(count, 0);
    assert!(start.elapsed() >= MOMENT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn new_connections_go_to_the_new_upstream() {
    let (proxy, mut old) = proxied().await;
    say(&mut old, b"abc").await;
    proxy.point_to(echo(b">").await);
    let mut new = TcpStream::connect(proxy.address()).await.expect("connect");
    assert_eq!(say(&mut new, b"abc").await, b">ab");
    assert_eq!(
        say(&mut old, b"abc").await,
        b"abc",
        "an open connection stays where it is"
    );
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_reset() {
    let proxy = Proxy::start("127.0.0.1:1").await.expect("proxy");
    let mut client = TcpStream::connect(proxy.address()).await.expect("connect");
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn a_dropped_proxy_closes_everything() {
    let (proxy, mut client) = proxied().await;
    let address = proxy.address();
    say(&mut client, b"abc").await;
    drop(proxy);
    let ended = timeout(SOON, client.read(&mut [0])).await.expect("in time");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(TcpStream::connect(address).await.is_err());
}
