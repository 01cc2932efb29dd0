//! A service in a process of its own, which is this program once more.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path as Segment;
use axum::routing::get;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use waypost_core::{Registry, ServiceName};
use waypost_file::{FileOptions, FileRegistry};
use waypost_server::{Service, Stop};

use super::common::Result;

const VARIABLE: &str = "WAYPOST_SERVER_TEST";
pub(crate) const NAME: &str = "greeter";

/// What a process is told to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    folder: PathBuf,
    id: String,
    pub(crate) ttl: Duration,
    pub(crate) drain: Duration,
    pub(crate) propagation: Option<Duration>,
    pub(crate) signals: bool,
}

impl Order {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            id: "a".to_owned(),
            ttl: Duration::from_secs(5),
            drain: Duration::from_secs(10),
            propagation: None,
            signals: true,
        }
    }

    pub(crate) fn named(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// What this process is told, if it is to be a service.
    pub(crate) fn given() -> Option<Self> {
        let text = std::env::var(VARIABLE).ok()?;
        serde_json::from_str(&text).ok()
    }
}

pub(crate) fn registry(folder: &Path) -> Result<Arc<dyn Registry>> {
    let options = FileOptions::default().with_directory(folder);
    Ok(Arc::new(FileRegistry::open(options)?))
}

pub(crate) async fn nodes(registry: &dyn Registry) -> usize {
    let name = ServiceName::new(NAME).expect("a name");
    registry.lookup(&name).await.map_or(0, |all| all.len())
}

/// The whole of a service's process. Its standard output says where it listens, and tells the hooks;
/// a byte on its standard input, or the input's end, stops it from code.
pub(crate) fn serve(order: &Order) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let result = runtime.block_on(run(order));
    // A blocked read of the standard input must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(order: &Order) -> Result<()> {
    let stop = Stop::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        let _ = tokio::io::stdin().read(&mut [0]).await;
        stopper.stop();
    });
    let hook = |moment: &'static str| {
        move || async move {
            println!("{moment}");
            Ok(())
        }
    };
    let mut builder = Service::builder(NAME)
        .id(&order.id)
        .registry(registry(&order.folder)?)
        .register_ttl(order.ttl)
        .drain(order.drain)
        .handle_signals(order.signals)
        .stop_with(stop)
        .before_start(hook("before_start"))
        .after_start(hook("after_start"))
        .before_stop(hook("before_stop"))
        .after_stop(hook("after_stop"))
        .serve(router());
    if let Some(wait) = order.propagation {
        builder = builder.propagation(wait);
    }
    let service = builder.start().await?;
    println!("listening {}", service.instance().node.address);
    Ok(service.wait().await?)
}

fn router() -> Router {
    let sleeping = |Segment(seconds): Segment<u64>| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        format!("slept {seconds}")
    };
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/sleep/{seconds}", get(sleeping))
}

/// How a process is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Signal(Signal),
    Code,
}

/// A running service. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    told: Vec<String>,
}

impl Process {
    /// Starts one and waits until it is up.
    pub(crate) async fn start(order: &Order) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(VARIABLE, serde_json::to_string(order)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut output = BufReader::new(output).lines();
        let mut told = Vec::new();
        let address = loop {
            let line = timeout(super::LIMIT, output.next_line()).await??;
            let line = line.ok_or("the service ended before it was up")?;
            match line.strip_prefix("listening ") {
                Some(address) => break address.parse()?,
                None => told.push(line),
            }
        };
        Ok(Self {
            input: child.stdin.take(),
            child,
            output,
            address,
            told,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn stop(&mut self, how: How) -> Result<()> {
        match how {
            How::Code => self.input = None,
            How::Signal(signal) => {
                let id = self.child.id().ok_or("it has ended")?;
                let pid = Pid::from_raw(i32::try_from(id)?).ok_or("no process")?;
                kill_process(pid, signal)?;
            }
        }
        Ok(())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        // Waiting closes the input, which would stop it from code.
        let held = self.input.take();
        let status = timeout(limit, self.child.wait()).await;
        drop(held);
        Ok(status.map_err(|_| format!("it runs after {limit:?}"))??)
    }

    /// What its hooks told, once it has ended.
    pub(crate) async fn lines(mut self) -> Vec<String> {
        while let Ok(Some(line)) = self.output.next_line().await {
            self.told.push(line);
        }
        self.told
    }
}
