//! Removes a container or a network when this process ends, however it ends.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A shell that waits for our end of its pipe to close: by a drop, an exit, a panic or a kill.
#[derive(Debug)]
pub(super) struct Reaper(Child);

impl Reaper {
    /// Of a container, and of the folder that its data are in.
    pub(super) fn new(id: &str, data: Option<&Path>) -> io::Result<Self> {
        let script = r#"docker rm --force --volumes "$0"; test -z "$1" || exec rm -rf "$1""#;
        Self::running(script, id, data)
    }

    /// Of a network, which cannot go before the containers in it, whose reapers work meanwhile.
    pub(super) fn of_network(name: &str) -> io::Result<Self> {
        let script = r#"for _ in $(seq 100); do
            docker network rm "$0" && exit
            docker network inspect "$0" || exit
            sleep 0.1
        done"#;
        Self::running(script, name, None)
    }

    fn running(script: &str, subject: &str, data: Option<&Path>) -> io::Result<Self> {
        // Signals to the whole foreground group (Ctrl-C) must not reach it before we are gone.
        let script = format!(r#"trap "" INT TERM HUP QUIT; cat >/dev/null; {script}"#);
        Command::new("sh")
            .args(["-c", &script, subject])
            .args(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Returns when it is gone; without a docker command it is gone at once.
        let _ = self.0.wait();
    }
}
