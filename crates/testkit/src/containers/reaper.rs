//! Removes a container or a network when this process ends, however it ends.

use std::io;
use std::process::{Child, Command, Stdio};

/// A shell that waits for our end of its pipe to close: by a drop, an exit, a panic or a kill.
#[derive(Debug)]
pub(super) struct Reaper(Child);

impl Reaper {
    /// Of a container.
    pub(super) fn new(id: &str) -> io::Result<Self> {
        Self::running(r#"exec docker rm --force --volumes "$0""#, id)
    }

    /// Of a network, which cannot go before the containers in it, whose reapers work meanwhile.
    pub(super) fn of_network(name: &str) -> io::Result<Self> {
        let script = r#"for _ in $(seq 100); do
            docker network rm "$0" && exit
            docker network inspect "$0" || exit
            sleep 0.1
        done"#;
        Self::running(script, name)
    }

    fn running(script: &str, subject: &str) -> io::Result<Self> {
        // Signals to the whole foreground group (Ctrl-C) must not reach it before we are gone.
        let script = format!(r#"trap "" INT TERM HUP QUIT; cat >/dev/null; {script}"#);
        Command::new("sh")
            .args(["-c", &script, subject])
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
