//! Ways to a DNS server that can be cut: connections and datagrams on one port.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use waypost_core::{Error, Result};
use waypost_testkit::proxy::{Manner, Proxy};

/// One way, open until it is cut.
pub(crate) struct Way {
    proxy: Proxy,
    open: Arc<AtomicBool>,
    datagrams: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Way {
    pub(crate) async fn start(upstream: &str) -> Result<Self> {
        let fault = |error: io::Error| Error::unavailable("no port for a way").with_source(error);
        // The same port has to be free for both.
        for _ in 0..20 {
            let proxy = Proxy::start(upstream).await.map_err(fault)?;
            let Ok(socket) = UdpSocket::bind(proxy.address()).await else {
                continue;
            };
            let (open, datagrams) = (Arc::new(AtomicBool::new(true)), Arc::default());
            let relay = relay(
                Arc::new(socket),
                upstream.to_owned(),
                Arc::clone(&open),
                Arc::clone(&datagrams),
            );
            let task = tokio::spawn(relay).abort_handle();
            return Ok(Self {
                proxy,
                open,
                datagrams,
                task,
            });
        }
        Err(Error::unavailable("no port for a way"))
    }

    pub(crate) fn address(&self) -> String {
        self.proxy.address()
    }

    /// Nobody who sends datagrams hears that they are refused.
    pub(crate) fn behave(&self, manner: Manner) {
        self.open.store(manner == Manner::Forward, Ordering::SeqCst);
        self.proxy.behave(manner);
    }

    /// How many questions came, by datagram and by connection.
    #[allow(dead_code, reason = "not every test counts")]
    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.datagrams.load(Ordering::SeqCst), self.proxy.accepted())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    socket: Arc<UdpSocket>,
    upstream: String,
    open: Arc<AtomicBool>,
    datagrams: Arc<AtomicUsize>,
) {
    let mut questions = JoinSet::new();
    let mut question = [0; 2048];
    loop {
        while questions.try_join_next().is_some() {}
        let Ok((length, client)) = socket.recv_from(&mut question).await else {
            continue;
        };
        datagrams.fetch_add(1, Ordering::SeqCst);
        if !open.load(Ordering::SeqCst) {
            continue;
        }
        let (socket, open, upstream) = (Arc::clone(&socket), Arc::clone(&open), upstream.clone());
        let question = question[..length].to_vec();
        questions.spawn(async move {
            // A question without an answer waits until the way ends.
            if let Ok(answer) = ask(&upstream, &question).await
                && open.load(Ordering::SeqCst)
            {
                let _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn ask(upstream: &str, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

/// A way a namespace.
#[allow(dead_code, reason = "not every test has namespaces")]
pub(crate) struct Ways {
    upstream: String,
    all: Mutex<HashMap<String, Way>>,
}

#[allow(dead_code, reason = "not every test has namespaces")]
impl Ways {
    pub(crate) fn new(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            all: Mutex::default(),
        }
    }

    pub(crate) async fn address(&self, namespace: &str) -> Result<String> {
        let mut all = self.all.lock().await;
        if let Some(way) = all.get(namespace) {
            return Ok(way.address());
        }
        let way = Way::start(&self.upstream).await?;
        let address = way.address();
        all.insert(namespace.to_owned(), way);
        Ok(address)
    }

    pub(crate) async fn behave(&self, namespace: &str, manner: Manner) {
        if let Some(way) = self.all.lock().await.get(namespace) {
            way.behave(manner);
        }
    }
}
