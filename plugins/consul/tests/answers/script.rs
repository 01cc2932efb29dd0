//! An agent that answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use waypost_consul::DRIVER;
use waypost_core::{
    Address, BoxWatcher, Event, Instance, Node, NodeId, Origin, Registry, Result, ServiceName,
    Target, WatchScope,
};

/// What a request was.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /v1/health/service/orders?index=1`
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What to answer; without a status the connection is closed instead, and silence keeps it.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Says(u16, &'static str, String),
    Zeros(usize),
    Closes,
    Silence,
}

pub(crate) fn says(status: u16, body: impl ToString) -> Answer {
    Answer::Says(status, "", body.to_string())
}

/// 200 with an index and other headers.
pub(crate) fn at(headers: &'static str, body: impl ToString) -> Answer {
    Answer::Says(200, headers, body.to_string())
}

/// A scripted agent; it ends with this value.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&asked), Arc::new(script));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                connections.spawn(async move {
                    // A client that went away ends its connection.
                    let _ = serve(stream, &log, &*script).await;
                });
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("lock").clone()
    }

    /// How many requests so far had this in their first line.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.line.contains(part))
            .count()
    }

    pub(crate) async fn open(&self, options: &str) -> Arc<dyn Registry> {
        open(&format!("consul://{}?{options}", self.address)).await
    }
}

pub(crate) async fn open(url: &str) -> Arc<dyn Registry> {
    let target = Target::parse(url, None, Origin::Code).expect("target");
    (DRIVER.connect)(target).await.expect("registry")
}

async fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    script: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let Some(asked) = read(&mut stream).await? else {
            return Ok(());
        };
        log.lock().expect("lock").push(asked.clone());
        match script(&asked) {
            Answer::Says(status, headers, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(body.as_bytes()).await?;
            }
            Answer::Zeros(count) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                let piece = vec![b' '; 1 << 16];
                for _ in 0..count / piece.len() {
                    stream.write_all(&piece).await?;
                }
            }
            Answer::Closes => return Ok(()),
            Answer::Silence => std::future::pending().await,
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
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
    Ok(Some(Asked {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        body: String::from_utf8_lossy(&body).into_owned(),
        head,
    }))
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("name")
}

pub(crate) fn instance() -> Instance {
    let id = NodeId::new("orders-1").expect("id");
    let address = Address::new("10.0.0.1:80").expect("address");
    Instance::new(name("orders"), Node::new(id, address))
}

/// One live entry of a service, in the list of its health.
pub(crate) fn entries() -> Value {
    json!([{
        "Node": {"Node": "m1", "Address": "10.0.0.9"},
        "Service": {"ID": "orders-1", "Service": "orders", "Address": "10.0.0.1", "Port": 80,
            "Tags": ["v=1.0.0"], "Meta": null},
        "Checks": [{"CheckID": "service:orders-1", "Status": "passing"}],
    }])
}

pub(crate) async fn watch(registry: &dyn Registry, scope: impl Into<WatchScope>) -> BoxWatcher {
    registry.watch(scope.into()).await.expect("watcher")
}

/// The next event but `Confirmed`, within ten seconds.
pub(crate) async fn news(watcher: &mut BoxWatcher) -> Result<Event> {
    let news = async {
        loop {
            match watcher.next().await.expect("open") {
                Ok(Event::Confirmed) => {}
                news => return news,
            }
        }
    };
    timeout(Duration::from_secs(10), news).await.expect("news")
}
