//! A handle on an agent's process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::history::History;
use crate::random::record::What;
use crate::{Result, ensure};

use super::{Act, Order, Report};

pub use rustix::process::Signal;

/// A running agent. Dropping it kills the process.
#[derive(Debug)]
pub struct Agent {
    name: String,
    order: Order,
    child: Child,
    /// The agent ends when this is closed, which waiting for the child would do.
    _input: Option<ChildStdin>,
    reports: watch::Receiver<BTreeMap<String, Report>>,
    readers: [AbortHandle; 2],
    history: History,
}

impl Agent {
    /// Starts the program `binary`; its reports and its log go to `history` as `name`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, binary: &Path, order: Order, history: &History) -> Result<Self> {
        Self::start_in(&[], name, binary, order, history)
    }

    /// As [`Agent::start`], with these variables in its environment.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn start_in(
        environment: &[(&str, PathBuf)],
        name: &str,
        binary: &Path,
        order: Order,
        history: &History,
    ) -> Result<Self> {
        let mut child = Command::new(binary)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // To name the lines of a backtrace, all symbols would be read into its memory.
            .env("RUST_BACKTRACE", "0")
            .env(Order::VARIABLE, serde_json::to_string(&order)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (sender, reports) = watch::channel(BTreeMap::new());
        let (Some(output), Some(log)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("the agent has no output".into());
        };
        let told = {
            let (name, history) = (name.to_owned(), history.clone());
            move |line: &str| {
                if let Ok(report) = serde_json::from_str::<Report>(line) {
                    let cause = report.cause.as_deref().unwrap_or_default();
                    history.note(&name, format!("{} {} {cause}", report.node, report.state));
                    sender.send_modify(|all: &mut BTreeMap<String, Report>| {
                        all.insert(report.node.clone(), report);
                    });
                } else if let Ok(act) = serde_json::from_str::<Act>(line) {
                    history.tell_at(act.when, &name, || What::Act(act));
                }
            }
        };
        let logged = {
            let (name, history) = (name.to_owned(), history.clone());
            move |line: &str| history.note(&name, format!("log: {}", line.trim()))
        };
        let pid = child.id().unwrap_or(0);
        history.note(name, format!("starts as process {pid}"));
        history.tell(name, || What::Started { pid });
        Ok(Self {
            name: name.to_owned(),
            readers: [
                tokio::spawn(each_line(output, told)).abort_handle(),
                tokio::spawn(each_line(log, logged)).abort_handle(),
            ],
            order,
            _input: child.stdin.take(),
            child,
            reports,
            history: history.clone(),
        })
    }

    /// What it was told.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().ok_or("the agent has ended")?;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        self.history.note(&self.name, format!("gets {signal:?}"));
        kill_process(pid.ok_or("no such process")?, signal)?;
        Ok(())
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// When it has not within `limit`.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = timeout(limit, self.child.wait()).await;
        let status = status.map_err(|_| format!("{} still runs after {limit:?}", self.name))??;
        self.history
            .note(&self.name, format!("ended with {status}"));
        Ok(status)
    }

    /// The latest report of every node.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<String, Report> {
        self.reports.borrow().clone()
    }

    /// Waits until the reports of all nodes satisfy `holds`.
    ///
    /// # Errors
    /// When they do not within `limit`, with what they said.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Report) -> bool,
    ) -> Result<()> {
        let nodes = self.order.nodes.len();
        let mut reports = self.reports.clone();
        let all = |all: &BTreeMap<String, Report>| all.len() == nodes && all.values().all(&holds);
        let waited = timeout(limit, reports.wait_for(all)).await;
        let in_time = matches!(waited, Ok(Ok(_)));
        drop(waited);
        let seen = self.reports();
        ensure(in_time, || {
            format!("{}: {what} not within {limit:?}: {seen:?}", self.name)
        })
    }

    /// Waits until every node is live.
    ///
    /// # Errors
    /// When they are not within `limit`.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn live(&self, limit: Duration) -> Result<()> {
        self.until("live", limit, |report| report.state == "live")
            .await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
    }
}

async fn each_line(source: impl AsyncRead + Unpin, mut tell: impl FnMut(&str)) {
    let mut lines = BufReader::new(source).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tell(&line);
    }
}
