//! The process that is supervised.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A running program, leader of a process group of its own: a Ctrl-C at the terminal reaches us and
/// not the program, which is deregistered first; and what it started itself ends with it.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    group: Option<Pid>,
}

impl Program {
    /// Starts `command`.
    ///
    /// # Errors
    /// When there is no such program, or it may not be run.
    pub(crate) fn start(command: &[OsString]) -> io::Result<Self> {
        let [name, arguments @ ..] = command else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        // Outside of the terminal's foreground group, reading from it would stop the program.
        let stdin = if io::stdin().is_terminal() {
            Stdio::null()
        } else {
            Stdio::inherit()
        };
        let child = Command::new(name)
            .args(arguments)
            .stdin(stdin)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            group: group.and_then(Pid::from_raw),
            child,
        })
    }

    /// Waits for its end. Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // What it left behind would keep the port that the next one needs.
        self.signal(Signal::KILL);
        self.group = None;
        Ok(status)
    }

    /// Sends a signal to the program and what it started. One that has ended gets none.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Asks it to end with `signal`, and ends it when it has not after `patience`.
    pub(crate) async fn stop(
        &mut self,
        signal: Signal,
        patience: Duration,
    ) -> io::Result<ExitStatus> {
        self.signal(signal);
        match timeout(patience, self.wait()).await {
            Ok(status) => status,
            Err(_) => self.kill().await,
        }
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.wait().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The exit code that a shell would show.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(1)
}
