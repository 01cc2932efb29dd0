//! What the demo plays on: a fresh directory, processes, and a watch that is told as it happens.

use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use waypost::{BoxWatcher, Instance, ServiceName, Target, WatchScope};

use super::caller::Caller;
use crate::failure::Failure;
use crate::feed::{Action, Feed};
use crate::output::Output;
use crate::session::Session;
use crate::style::Paint;

pub(super) struct Stage {
    directory: TempDir,
    ttl: Duration,
    children: Vec<(String, Child)>,
    registry: std::sync::Arc<dyn waypost::Registry>,
    watcher: BoxWatcher,
    feed: Feed,
    /// What the watch has told and nobody has waited for yet.
    told: Vec<Action>,
    began: Instant,
    output: Output,
}

impl Stage {
    /// A file registry in a directory of its own, watched.
    pub(super) async fn set(session: &Session, ttl: Duration) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("waypost-demo-").tempdir()?;
        let target = Target::new("file")?.with_addresses([directory.path().display().to_string()]);
        let registry = session.drivers.connect(&target).await?;
        let mut watcher = registry.watch(WatchScope::All).await?;
        // The snapshot of nothing comes before anybody can join, so that every joining is told.
        let mut feed = Feed::default();
        if let Some(event) = session.limited(watcher.next()).await? {
            feed.take(event?);
        }
        session
            .output
            .say(&format!("registry: {target}, ttl {ttl:?}"));
        Ok(Self {
            directory,
            ttl,
            children: Vec::new(),
            registry,
            watcher,
            feed,
            told: Vec::new(),
            began: Instant::now(),
            output: session.output,
        })
    }

    /// A heading, with the time since the beginning.
    pub(super) fn title(&self, text: &str) -> Result<(), Failure> {
        let at = format!("{:6.2} s", self.began.elapsed().as_secs_f64());
        let style = self.output.stdout;
        self.output.line(&format!(
            "{}  {}",
            style.paint(Paint::Dim, &at),
            style.paint(Paint::Bold, text)
        ))
    }

    /// A line of text below a heading.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.output.line(format!("            {text}").trim_end())
    }

    /// Starts a process of this very program that registers itself as `node` of `service`.
    pub(super) fn start(&mut self, service: &str, node: &str) -> Result<Instant, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("MICRO_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .arg("demo-service")
            .args(["--server_name", service, "--server_id", node])
            .args(["--registry", "file", "--registry_address"])
            .arg(self.directory.path())
            .arg(format!("--register_ttl={}ms", self.ttl.as_millis()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.children.push((node.to_owned(), child));
        Ok(Instant::now())
    }

    /// Sends a signal to the process of a node.
    pub(super) fn signal(&self, node: &str, signal: Signal) -> Result<Instant, Failure> {
        let child = self.children.iter().find(|(name, _)| name == node);
        let pid = child.and_then(|(_, child)| child.id());
        let pid = pid.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::no(format!("{node} ended before its time")))?;
        kill_process(pid, signal).map_err(|error| Failure::no(format!("{node}: {error}")))?;
        Ok(Instant::now())
    }

    /// Tells what happens until `wanted` has happened.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Action) -> bool) -> Result<(), Failure> {
        loop {
            if let Some(position) = self.told.iter().position(&wanted) {
                self.told.remove(position);
                return Ok(());
            }
            let event = match self.watcher.next().await {
                Some(event) => event?,
                None => return Err(Failure::registry("the watch ended")),
            };
            for action in self.feed.take(event) {
                self.tell(&action)?;
                self.told.push(action);
            }
        }
    }

    fn tell(&self, action: &Action) -> Result<(), Failure> {
        let (sign, paint, instance, what) = match action {
            Action::Snapshot(_) => return Ok(()),
            Action::Create(instance) => ("+", Paint::Green, instance, "joined"),
            Action::Update(instance) => ("~", Paint::Cyan, instance, "changed"),
            Action::Delete(instance) => ("-", Paint::Red, instance, "vanished"),
        };
        let style = self.output.stdout;
        let at = format!("{:6.2} s", self.began.elapsed().as_secs_f64());
        let name = format!("{sign} {:16}", instance.key().to_string());
        self.output.line(&format!(
            "{}    {}  {what} ({})",
            style.paint(Paint::Dim, &at),
            style.paint(paint, &name),
            instance.node.address
        ))
    }

    /// Looks a node up and asks it for a greeting, as a caller would.
    pub(super) async fn greet(&self, service: &str, node: &str) -> Result<(), Failure> {
        let instances = self.registry.lookup(&ServiceName::new(service)?).await?;
        let instance = instances
            .iter()
            .find(|instance| instance.node.id.as_str() == node);
        let instance =
            instance.ok_or_else(|| Failure::no(format!("{node} cannot be looked up")))?;
        let answer = ask(instance).await?;
        self.line(&format!("looked up {service}, asked {node}: {answer:?}"))
    }

    /// Somebody who calls `service` from now on.
    pub(super) fn caller(&self, service: &str) -> Result<Caller, Failure> {
        Caller::start(std::sync::Arc::clone(&self.registry), service)
    }

    /// Ends every process and removes the directory.
    pub(super) async fn clear(mut self) {
        for (_, child) in &mut self.children {
            let _ = child.start_kill();
        }
        for (_, child) in &mut self.children {
            let _ = child.wait().await;
        }
        if let Err(error) = self.directory.close() {
            self.output
                .warn(&format!("the demo's directory is left behind: {error}"));
        }
    }
}

async fn ask(instance: &Instance) -> Result<String, Failure> {
    let address = instance.node.address.as_str();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).await?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    Ok(body.trim().to_owned())
}
