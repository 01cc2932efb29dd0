//! Callers that follow the registry, and an observer of one node.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use waypost_core::{Directory, DirectoryOptions, Followed, ServiceName};

use super::common::{Http1, Result, get, http1, text};
use super::service::{self, NAME};

/// Between two calls: 200 a second.
const PERIOD: Duration = Duration::from_millis(5);

/// Calls nodes in turn, on connections that it keeps, as a client with a pool does.
#[derive(Debug)]
pub(crate) struct Callers {
    followed: Followed,
    stop: watch::Sender<bool>,
    made: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

type Pool = Arc<Mutex<HashMap<SocketAddr, Vec<Http1>>>>;

impl Callers {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let directory = Directory::new(service::registry(folder)?, DirectoryOptions::new());
        let followed = directory.follow(ServiceName::new(NAME)?).await?;
        let (stop, mut stopped) = watch::channel(false);
        let (made, failed) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let task = tokio::spawn({
            let (followed, made, failed) =
                (followed.clone(), Arc::clone(&made), Arc::clone(&failed));
            async move {
                let (pool, mut calls) = (Pool::default(), JoinSet::new());
                let mut ticks = interval(PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !*stopped.borrow_and_update() {
                    ticks.tick().await;
                    let turn = made.load(Relaxed);
                    let Some(node) = pick(&followed, turn) else {
                        continue;
                    };
                    made.fetch_add(1, Relaxed);
                    let (pool, failed) = (Arc::clone(&pool), Arc::clone(&failed));
                    calls.spawn(async move {
                        if let Err(error) = call(node, &pool).await {
                            let told = format!("{node}: {error}");
                            failed.lock().expect("lock").push(told);
                        }
                    });
                }
                while calls.join_next().await.is_some() {}
            }
        });
        Ok(Self {
            followed,
            stop,
            made,
            failed,
            task,
        })
    }

    /// Waits until the callers know of so many nodes.
    pub(crate) async fn seen(&self, nodes: usize) -> Result<()> {
        let begun = Instant::now();
        while self.followed.members().candidates().count() != nodes {
            if begun.elapsed() > super::LIMIT {
                return Err(format!("never saw {nodes} nodes").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// How many calls were made, and why some failed.
    pub(crate) async fn end(self) -> (usize, Vec<String>) {
        self.stop.send_replace(true);
        let _ = self.task.await;
        let failed = std::mem::take(&mut *self.failed.lock().expect("lock"));
        (self.made.load(Relaxed), failed)
    }
}

fn pick(followed: &Followed, turn: usize) -> Option<SocketAddr> {
    let members = followed.members();
    let at = turn.checked_rem(members.candidates().count())?;
    members
        .candidates()
        .nth(at)?
        .node
        .address
        .as_str()
        .parse()
        .ok()
}

async fn call(node: SocketAddr, pool: &Pool) -> Result<()> {
    let kept = || pool.lock().expect("lock").entry(node).or_default().pop();
    let mut connection = None;
    while let Some(mut one) = kept() {
        if one.ready().await.is_ok() {
            connection = Some(one);
            break;
        }
    }
    let mut connection = match connection {
        Some(connection) => connection,
        None => http1(node).await?,
    };
    let response = connection.send_request(get("/hello")).await?;
    let status = response.status();
    let ends = response.headers().contains_key("connection");
    text(response).await?;
    if !status.is_success() {
        return Err(format!("answered {status}").into());
    }
    if !ends {
        pool.lock()
            .expect("lock")
            .entry(node)
            .or_default()
            .push(connection);
    }
    Ok(())
}

/// When a node's record was gone, and when its port refused connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) gone: Instant,
    pub(crate) closed: Instant,
}

/// Looks at one node a hundred times a second.
#[derive(Debug)]
pub(crate) struct Sight {
    task: JoinHandle<Seen>,
}

impl Sight {
    pub(crate) async fn start(folder: &Path, node: SocketAddr) -> Result<Self> {
        let registry = service::registry(folder)?;
        let before = service::nodes(&*registry).await;
        let task = tokio::spawn(async move {
            let (mut gone, mut closed) = (None, None);
            loop {
                if gone.is_none() && service::nodes(&*registry).await < before {
                    gone = Some(Instant::now());
                }
                if closed.is_none() && TcpStream::connect(node).await.is_err() {
                    closed = Some(Instant::now());
                }
                if let (Some(gone), Some(closed)) = (gone, closed) {
                    return Seen { gone, closed };
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        Ok(Self { task })
    }

    pub(crate) async fn end(self, limit: Duration) -> Result<Seen> {
        let seen = timeout(limit, self.task).await;
        Ok(seen.map_err(|_| "the record or the listener is still there")??)
    }
}
