//! Datagrams on a proxy's port, as DNS has them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Counts, Manner, State};

/// Largest datagram that is passed on.
const LARGEST: usize = 4096;

/// Passes questions on and their answers back, as long as the manner is to forward; nobody who
/// sends datagrams hears that they are refused.
pub(super) async fn relay(socket: UdpSocket, state: watch::Receiver<State>, counts: Arc<Counts>) {
    let socket = Arc::new(socket);
    let mut questions = JoinSet::new();
    let mut question = [0; LARGEST];
    loop {
        while questions.try_join_next().is_some() {}
        let Ok((length, client)) = socket.recv_from(&mut question).await else {
            continue;
        };
        counts.datagrams.fetch_add(1, Ordering::SeqCst);
        if let Some(upstream) = upstream(&state) {
            let (question, socket) = (question[..length].to_vec(), Arc::clone(&socket));
            let answered = answer(question, client, socket, upstream, state.clone());
            // A question without an answer waits until the proxy ends.
            questions.spawn(answered);
        }
    }
}

/// Where datagrams go, while they go anywhere.
fn upstream(state: &watch::Receiver<State>) -> Option<String> {
    let state = state.borrow();
    (state.manner == Manner::Forward).then(|| state.upstream.clone())
}

async fn answer(
    question: Vec<u8>,
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    upstream: String,
    state: watch::Receiver<State>,
) -> io::Result<()> {
    let asking = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    asking.connect(upstream).await?;
    asking.send(&question).await?;
    let mut answer = [0; LARGEST];
    let length = asking.recv(&mut answer).await?;
    if self::upstream(&state).is_some() {
        socket.send_to(&answer[..length], client).await?;
    }
    Ok(())
}
