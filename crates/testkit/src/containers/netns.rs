//! What happens to the packets of a container: dropped, lost, delayed.
//!
//! The machine's own `iptables` and `tc` are run in the container's network namespace, so that no
//! image needs them. That takes Linux and root, or a `sudo` that asks for no password, as the usual
//! CI machines have it.

use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use tokio::process::Command;
use waypost_core::{Error, ErrorKind, Result};

use super::Server;

/// Drops everything that passes between the container and `peers`.
pub(super) async fn cut(server: &Server, peers: &[String]) -> Result<()> {
    let peers = peers.join(",");
    rule(server, &["INPUT", "-s", &peers, "-j", "DROP"]).await?;
    rule(server, &["OUTPUT", "-d", &peers, "-j", "DROP"]).await
}

/// Loses this share of the packets that pass in either direction, clients' included.
pub(super) async fn lose(server: &Server, share: f64) -> Result<()> {
    let share = share.to_string();
    let drawn = ["-m", "statistic", "--mode", "random", "--probability"];
    let lost = [share.as_str(), "-j", "DROP"];
    let received: Vec<&str> = ["INPUT", "!", "-i", "lo"]
        .into_iter()
        .chain(drawn)
        .chain(lost)
        .collect();
    rule(server, &received).await?;
    // A datagram that is dropped on its way out is an error to its sender, not a loss.
    let sent: Vec<&str> = ["OUTPUT", "!", "-o", "lo", "-p", "tcp"]
        .into_iter()
        .chain(drawn)
        .chain(lost)
        .collect();
    rule(server, &sent).await
}

/// Delays what the container sends, as `tc netem` is told to: `delay 200ms 100ms`.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the kernel has no such queue.
pub(super) async fn delay(server: &Server, netem: &str) -> Result<()> {
    let mut command = vec!["tc", "qdisc", "replace", "dev", "eth0", "root", "netem"];
    command.extend(netem.split_whitespace());
    let done = run(server, &command).await;
    done.map(drop).map_err(|error| match error.to_string() {
        text if text.contains("qdisc kind is unknown") => {
            let message = "this machine's kernel has no netem (CONFIG_NET_SCH_NETEM)";
            Error::new(ErrorKind::Unsupported, message)
        }
        _ => error,
    })
}

/// Ends all of these.
pub(super) async fn mend(server: &Server) -> Result<()> {
    run(server, &["iptables", "-w", "-F"]).await?;
    // An error where nothing is delayed.
    let _ = run(server, &["tc", "qdisc", "del", "dev", "eth0", "root"]).await;
    Ok(())
}

/// The kernel's tables of the container's TCP sockets.
pub(super) async fn sockets(server: &Server) -> Result<String> {
    run(server, &["cat", "/proc/net/tcp", "/proc/net/tcp6"]).await
}

async fn rule(server: &Server, rule: &[&str]) -> Result<()> {
    let command: Vec<&str> = ["iptables", "-w", "-A"]
        .into_iter()
        .chain(rule.iter().copied())
        .collect();
    run(server, &command).await.map(drop)
}

/// Runs a command of this machine in the container's network; tells what it printed.
async fn run(server: &Server, command: &[&str]) -> Result<String> {
    let process = server.process().await?.to_string();
    let enter = ["nsenter", "--net", "--target", process.as_str()];
    let mut words = enter.iter().chain(command);
    let mut all = if is_root() {
        Command::new(words.next().unwrap_or(&"nsenter"))
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("--non-interactive");
        sudo
    };
    let ran = all.args(words).stdin(Stdio::null()).output().await;
    let fault = |why: String| {
        let message = format!("`{}` needs root and iproute2: {why}", command.join(" "));
        Error::unavailable(message).with_operation("change", "the container's network")
    };
    let output = ran.map_err(|error| fault(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let told = String::from_utf8_lossy(&output.stderr);
        Err(fault(told.trim().replace('\n', " ")))
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of_us| of_us.uid() == 0)
}
