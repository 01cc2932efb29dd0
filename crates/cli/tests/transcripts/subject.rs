//! A program for `run` to run: it serves, crashes or hangs as its plan says, and keeps a diary.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use waypost::{Drivers, ServiceName, Target};

/// The program's main: `SUBJECT_PLAN` is `serve`, `crash:MS:CODE`, `hang:MS` or `exit:MS:CODE`.
pub(crate) fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    ExitCode::from(runtime.block_on(live()))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Writes a line into the diary.
fn note(text: &str) {
    let path = variable("SUBJECT_DIARY");
    let mut diary = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("a diary");
    writeln!(diary, "{text}").expect("a note");
}

async fn live() -> u8 {
    note("start");
    let plan = variable("SUBJECT_PLAN");
    let mut words = plan.split(':');
    let what = words.next().unwrap_or_default().to_owned();
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let (after, code): (u64, u64) = (number(), number());
    let mut terminate = signal(SignalKind::terminate()).expect("signals");
    let mut user = signal(SignalKind::user_defined1()).expect("signals");
    let listener = TcpListener::bind((
        "127.0.0.1",
        variable("SUBJECT_PORT").parse().expect("a port"),
    ))
    .await
    .expect("the port is free");
    let alarm = tokio::time::sleep(Duration::from_millis(after));
    tokio::pin!(alarm);
    let (mut rings, mut hanging) = (what != "serve", false);
    loop {
        tokio::select! {
            accepted = listener.accept(), if !hanging => {
                let (mut stream, _) = accepted.expect("a caller");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
            () = &mut alarm, if rings => {
                rings = false;
                if what != "hang" {
                    return u8::try_from(code).expect("a code");
                }
                note("hang");
                hanging = true;
            }
            _ = user.recv() => note("user signal"),
            _ = terminate.recv() => {
                note(&format!("asked to stop while {} of us are registered", registered().await));
                return 7;
            }
        }
    }
}

/// How many nodes of our service a caller would find now.
async fn registered() -> usize {
    let target = Target::new("file").expect("a target");
    let target = target.with_addresses([variable("MICRO_REGISTRY_ADDRESS")]);
    let registry = Drivers::builtin()
        .connect(&target)
        .await
        .expect("a registry");
    let name = ServiceName::new("orders").expect("a name");
    registry.lookup(&name).await.expect("an answer").len()
}
