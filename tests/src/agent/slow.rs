//! A process that watches and does not look until it is told to.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use waypost::{Drivers, Origin, Target};
use waypost_core::{Change, Event, NodeId, ServiceName, WatchScope};

use crate::Result;

/// What the process is told, as JSON in the environment variable [`Watch::VARIABLE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watch {
    /// URL of the registry.
    pub registry: String,
    /// The service to watch.
    pub service: String,
}

impl Watch {
    /// Name of the environment variable.
    pub const VARIABLE: &str = "WAYPOST_TEST_WATCH";
}

/// What the process has seen so far, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Events it was told.
    pub events: usize,
    /// Version of every node.
    pub versions: BTreeMap<String, String>,
}

/// What the process does: takes the snapshot, waits for a line, and takes all else then.
///
/// # Errors
/// The registry's.
///
/// # Cancel safety
/// Safe.
pub async fn watch(order: Watch) -> Result<()> {
    let target = Target::parse(&order.registry, None, Origin::Environment)?;
    let registry = Drivers::builtin().connect(&target).await?;
    let scope = WatchScope::Service(ServiceName::new(&order.service)?);
    let mut watcher = registry.watch(scope).await?;
    let mut input = BufReader::new(stdin()).lines();
    let mut versions: BTreeMap<NodeId, String> = BTreeMap::new();
    let mut events = 0;
    while let Some(event) = watcher.next().await {
        match event? {
            Event::Snapshot(all) => {
                let all = all.into_iter();
                versions = all
                    .map(|one| (one.node.id.clone(), one.version.clone()))
                    .collect();
            }
            Event::Changed(changes) => {
                for change in changes {
                    match change {
                        Change::Upsert(one) => {
                            versions.insert(one.node.id.clone(), one.version.clone())
                        }
                        Change::Remove(key) => versions.remove(&key.node),
                    };
                }
            }
            Event::Confirmed => {}
        }
        events += 1;
        let named = versions.iter();
        let seen = Seen {
            events,
            versions: named
                .map(|(id, version)| (id.to_string(), version.clone()))
                .collect(),
        };
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&seen)?)?;
        if events == 1 {
            input.next_line().await?;
        }
    }
    Err("the watch ended".into())
}

/// A handle on such a process. Dropping it kills the process.
#[derive(Debug)]
pub struct Watching {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    /// Starts the program `binary`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(binary: &Path, order: &Watch) -> Result<Self> {
        let mut child = Command::new(binary)
            .env(Watch::VARIABLE, serde_json::to_string(order)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the process has no pipes".into());
        };
        Ok(Self {
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| "the watch has ended".into())
    }

    /// What it tells next.
    ///
    /// # Errors
    /// When it tells nothing within `limit`, or ends.
    ///
    /// # Cancel safety
    /// What it tells meanwhile may be lost.
    pub async fn seen(&mut self, limit: Duration) -> Result<Seen> {
        let line = timeout(limit, self.output.next_line()).await;
        let line = line.map_err(|_| format!("the watch tells nothing within {limit:?}"))??;
        Ok(serde_json::from_str(&line.ok_or("the watch has ended")?)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    ///
    /// # Cancel safety
    /// It may or may not go on.
    pub async fn go_on(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"\n").await?)
    }
}
