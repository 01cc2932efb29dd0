//! One of the demo's services: a process that registers itself and says hello.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use waypost::{Address, Instance, Node, NodeId, Registration, ServiceName};

use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::signals::{self, Signals};

/// How long one greeting may take.
const GREETING: Duration = Duration::from_secs(1);
/// How long callers have to learn that we leave.
const FAREWELL: Duration = Duration::from_millis(300);

/// Serves until a signal, or until the demo is gone: its end closes our standard input, even when
/// it had no time to stop us.
pub(in crate::command) async fn serve(session: &Session) -> Outcome {
    let mut signals = Signals::take()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let instance = instance(session, &listener.local_addr()?.to_string())?;
    let hello: Arc<str> = format!("hello from {}", instance.node.id).into();
    let registry = session.registry().await?;
    let registration = Registration::start(registry, instance, session.registration())?;
    let signal = tokio::select! {
        signal = signals.ending() => signal,
        () = orphaned() => rustix::process::Signal::TERM,
        () = greet_everyone(&listener, &hello) => rustix::process::Signal::TERM,
    };
    registration.release().await?;
    let _ = tokio::time::timeout(FAREWELL, greet_everyone(&listener, &hello)).await;
    Ok(signals::code(signal))
}

fn instance(session: &Session, address: &str) -> Result<Instance, Failure> {
    let given = |text: &Option<String>| {
        text.clone()
            .ok_or_else(|| Failure::usage("this command is the demo's own; try: waypost demo"))
    };
    let id = NodeId::new(&given(&session.flags.server_id)?)?;
    let name = ServiceName::new(&given(&session.flags.server_name)?)?;
    Ok(Instance::new(name, Node::new(id, Address::new(address)?)).with_version("1.0.0"))
}

async fn orphaned() {
    let mut byte = [0];
    let mut stdin = tokio::io::stdin();
    while matches!(stdin.read(&mut byte).await, Ok(read) if read > 0) {}
}

async fn greet_everyone(listener: &TcpListener, hello: &Arc<str>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let hello = Arc::clone(hello);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(GREETING, greet(stream, &hello)).await;
        });
    }
}

async fn greet(mut stream: TcpStream, hello: &str) -> std::io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let length = hello.len() + 1;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{hello}\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
