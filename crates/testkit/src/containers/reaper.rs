//! Removes a container when this process ends, however it ends.

use std::io;
use std::process::{Child, Command, Stdio};

/// A shell that waits for our end of its pipe to close: by a drop, an exit, a panic or a kill.
#[derive(Debug)]
pub(super) struct Reaper(Child);

impl Reaper {
    pub(super) fn new(id: &str) -> io::Result<Self> {
        // Signals to the whole foreground group (Ctrl-C) must not reach it before we are gone.
        let script =
            r#"trap "" INT TERM HUP QUIT; cat >/dev/null; exec docker rm --force --volumes "$0""#;
        Command::new("sh")
            .args(["-c", script, id])
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
        // Returns when the container is gone; without a docker command it is gone at once.
        let _ = self.0.wait();
    }
}
