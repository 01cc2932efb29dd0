//! A registry in a directory of its own, and the command pointed at it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait of any test for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A home for one test.
pub(crate) struct House {
    directory: tempfile::TempDir,
}

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl House {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The registry's directory as text.
    pub(crate) fn registry(&self) -> String {
        self.path().join("registry").display().to_string()
    }

    /// The command without any registry chosen, in a clean environment.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        clean(&mut command);
        command.args(arguments).current_dir(self.path());
        command
    }

    /// The command on this house's registry.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(&[]);
        command.env("MICRO_REGISTRY", "file");
        command.env("MICRO_REGISTRY_ADDRESS", self.registry());
        command.args(arguments);
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        done(&mut self.command(arguments))
    }

    /// Starts the command and follows what it writes.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Puts a record there that outlives the command.
    pub(crate) fn register(&self, json: &str, ttl: &str) {
        let done = self.run(&["register", "--once", "--register_ttl", ttl, json]);
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// Whether a service is found.
    pub(crate) fn has(&self, service: &str) -> bool {
        self.run(&["get", service]).code == 0
    }
}

/// go-micro's JSON of a service with one node, `name-n` at port `9000 + n`.
pub(crate) fn service(name: &str, n: u16) -> String {
    let port = 9000 + n;
    format!(
        r#"{{"name":"{name}","version":"1.0.{n}","nodes":[{{"id":"{name}-{n}","address":"127.0.0.1:{port}"}}]}}"#
    )
}

/// Takes what the tests' own environment may hold out of a command's.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = [
            "NO_COLOR",
            "FORCE_COLOR",
            "CLICOLOR_FORCE",
            "RUST_LOG",
            "WAYPOST_TEST_ROLE",
        ];
        if name.starts_with("MICRO_") || ours.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env("TERM", "dumb").stdin(Stdio::null());
}

/// Runs a command to its end.
pub(crate) fn done(command: &mut Command) -> Done {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command runs");
    Done {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// A command that runs while a test goes on.
pub(crate) struct Running {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let stdout = lines(child.stdout.take().expect("stdout"));
        let stderr = lines(child.stderr.take().expect("stderr"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// The next line of data.
    pub(crate) fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line of data")
    }

    /// The next word to people that contains `needle`.
    pub(crate) fn said(&self, needle: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let Ok(line) = self.stderr.recv_timeout(PATIENCE) else {
                panic!("{needle:?} was never said, but {heard:?}");
            };
            if line.contains(needle) {
                return line;
            }
            heard.push(line);
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("an id"), signal).expect("the process lives");
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> i32 {
        let code = until("the command ends", || {
            self.child.try_wait().expect("a child")
        });
        code.code().unwrap_or(-1)
    }

    /// What is left to be read once it has ended.
    pub(crate) fn rest(&self) -> (Vec<String>, Vec<String>) {
        (self.stdout.iter().collect(), self.stderr.iter().collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Tries again until there is something.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        pause(Duration::from_millis(20));
    }
}

/// Real processes run in real time.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock of other processes cannot be paused"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits in real time.
#[expect(
    clippy::disallowed_methods,
    reason = "no runtime is blocked: tests here are threads"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Runs the command with `input` on its standard input.
pub(crate) fn fed(command: &mut Command, input: &str) -> Done {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("stdin");
    // A command that refuses to read is free to.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let text = |stream: &mut dyn std::io::Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("UTF-8");
        text
    };
    let stdout = text(&mut child.stdout.take().expect("stdout"));
    let stderr = text(&mut child.stderr.take().expect("stderr"));
    Done {
        code: child.wait().expect("an end").code().unwrap_or(-1),
        stdout,
        stderr,
    }
}
