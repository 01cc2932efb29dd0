//! Nodes that are processes, killed with SIGKILL or taken away in turn under 500 calls a second.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use waypost_client::{CallOptions, Client, Error};
use waypost_core::{
    Address, Instance, Lease, Node as Record, NodeId, RegisterOptions, Registry, ServiceName,
};
use waypost_memory::MemoryRegistry;

/// Set for the processes that are nodes: the file that they write each call into.
const NODE: &str = "WAYPOST_TEST_NODE";
const PERIOD: Duration = Duration::from_millis(2);
const KILLS: usize = 10;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    if let Some(file) = std::env::var_os(NODE) {
        runtime.block_on(serve(Path::new(&file)));
        return ExitCode::SUCCESS;
    }
    let trial = |name: &str, nodes: usize, how: How| {
        let runtime = Arc::clone(&runtime);
        Trial::test(name, move || runtime.block_on(play(nodes, how)))
    };
    let trials = vec![
        trial("one_of_two_is_killed_ten_times", 2, How::Kill),
        trial("one_of_three_is_killed_ten_times", 3, How::Kill),
        trial("all_are_restarted_in_turn", 3, How::Roll),
    ];
    let mut arguments = Arguments::from_args();
    // They measure each other otherwise.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Kill,
    Roll,
}

/// A node: notes each call that it runs, then answers after a moment.
async fn serve(file: &Path) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    // The test reads it from our standard output.
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr().expect("an address")).expect("told");
    let runs = Arc::new(append(file));
    let running = Arc::new(AtomicU32::new(0));
    let told_to_end = drained(Arc::clone(&running));
    tokio::pin!(told_to_end);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            () = &mut told_to_end => return,
        };
        let _ = stream.set_nodelay(true);
        let (runs, running) = (Arc::clone(&runs), Arc::clone(&running));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (runs, running) = (Arc::clone(&runs), Arc::clone(&running));
                running.fetch_add(1, Ordering::SeqCst);
                async move {
                    let line = format!("{}\n", request.uri().path());
                    (&*runs).write_all(line.as_bytes()).expect("noted");
                    let _ = request.into_body().collect().await;
                    sleep(Duration::from_millis(5)).await;
                    // Answers are written within this time, or the test is too busy to tell.
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(100)).await;
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
                }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Waits until our standard input ends, and then for the calls that are under way.
async fn drained(running: Arc<AtomicU32>) {
    let mut end = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut end).await;
    while running.load(Ordering::SeqCst) > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

fn append(file: &Path) -> File {
    let options = OpenOptions::new().create(true).append(true).open(file);
    options.expect("a file to note calls in")
}

/// The processes and the registry that they stand in.
struct House {
    registry: MemoryRegistry,
    runs: PathBuf,
    nodes: Vec<(Child, Box<dyn Lease>)>,
    names: usize,
}

impl House {
    async fn join(&mut self) {
        let mut child = Command::new(std::env::current_exe().expect("our name"))
            .env(NODE, &self.runs)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a process");
        let out = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .await
            .expect("its address");
        self.names += 1;
        let id = NodeId::new(&format!("n{}", self.names)).expect("an id");
        let record = Record::new(id, Address::new(line.trim()).expect("an address"));
        let instance = Instance::new(ServiceName::new("orders").expect("a name"), record);
        let options = RegisterOptions::new(Duration::from_secs(600));
        let lease = self.registry.register(&instance, options).await;
        self.nodes.push((child, lease.expect("registered")));
    }

    /// Kills the oldest; its record stays until its ttl would have passed.
    async fn kill(&mut self) {
        let (mut child, lease) = self.nodes.remove(0);
        child.kill().await.expect("killed");
        sleep(Duration::from_millis(700)).await;
        lease.revoke().await.expect("gone");
    }

    /// Takes the oldest away in order: out of the registry, a moment for the callers to learn of
    /// it, what is under way there, then its process.
    async fn retire(&mut self) {
        let (mut child, lease) = self.nodes.remove(0);
        lease.revoke().await.expect("gone");
        sleep(Duration::from_millis(300)).await;
        drop(child.stdin.take());
        child.wait().await.expect("ended");
    }
}

/// One call's end: its number, whether it may be repeated, when it began, how it ended.
type Made = (u32, bool, Instant, Instant, Result<(), Error>);

async fn call(client: Client, number: u32) -> Made {
    let idempotent = number.is_multiple_of(2);
    let mut request = Request::new(Full::<Bytes>::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://orders/{number}").parse().expect("a uri");
    request
        .extensions_mut()
        .insert(CallOptions::new().with_idempotent(idempotent));
    let begun = Instant::now();
    let result = match client.request(request).await {
        Ok(answer) => answer.into_body().collect().await.map(drop),
        Err(error) => Err(error.into()),
    };
    let result = result.map_err(|error| *error.downcast::<Error>().expect("our error"));
    (number, idempotent, begun, Instant::now(), result)
}

async fn play(nodes: usize, how: How) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut house = House {
        registry: MemoryRegistry::new(),
        runs: folder.path().join("runs"),
        nodes: Vec::new(),
        names: 0,
    };
    for _ in 0..nodes {
        house.join().await;
    }
    let client = Client::builder()
        .registry(Arc::new(house.registry.clone()))
        .build()?;
    client.prepare("orders").await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let calling = tokio::spawn(calls(client.clone(), stopped));
    let mut kills = Vec::new();
    sleep(Duration::from_millis(500)).await;
    let rounds = if how == How::Kill { KILLS } else { nodes };
    for _ in 0..rounds {
        match how {
            How::Kill => {
                kills.push(Instant::now());
                house.kill().await;
                house.join().await;
            }
            How::Roll => {
                house.join().await;
                house.retire().await;
            }
        }
        sleep(Duration::from_millis(300)).await;
    }
    let _ = stop.send(());
    let made = calling.await?;
    check(&made, &kills, &std::fs::read_to_string(&house.runs)?)?;
    let explained = client.explain("orders").ok_or("never called")?;
    let left: u32 = explained.nodes.iter().map(|node| node.in_flight).sum();
    ensure(left == 0, || format!("{left} calls are still under way"))
}

/// 500 calls a second, half of them idempotent.
async fn calls(client: Client, mut stopped: tokio::sync::oneshot::Receiver<()>) -> Vec<Made> {
    let (mut running, mut made, mut number) = (JoinSet::new(), Vec::new(), 0);
    let mut next = interval(PERIOD);
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = next.tick() => {
                number += 1;
                running.spawn(call(client.clone(), number));
            }
            Some(done) = running.join_next() => made.push(done.expect("a call")),
        }
    }
    while let Some(done) = running.join_next().await {
        made.push(done.expect("a call"));
    }
    made
}

fn check(made: &[Made], kills: &[Instant], runs: &str) -> Result<(), Failed> {
    let mut ran: HashMap<u32, u32> = HashMap::new();
    for line in runs.lines() {
        *ran.entry(line.trim_start_matches('/').parse()?)
            .or_default() += 1;
    }
    let mut lost = 0;
    for (number, idempotent, begun, ended, result) in made {
        let times = ran.get(number).copied().unwrap_or(0);
        ensure(*idempotent || times <= 1, || {
            format!("call {number} ran {times} times")
        })?;
        let Err(error) = result else {
            ensure(times >= 1, || {
                format!("call {number} was answered and never ran")
            })?;
            continue;
        };
        ensure(!idempotent, || {
            format!("idempotent call {number}: {}", error.chain())
        })?;
        ensure(error.may_have_run(), || {
            format!("call {number} never ran: {}", error.chain())
        })?;
        // A moment around the signal, for the processes to be scheduled.
        let near = Duration::from_millis(100);
        let flying = |kill: &&Instant| *begun <= **kill + near && *ended + near >= **kill;
        ensure(kills.iter().find(flying).is_some(), || {
            format!(
                "call {number} failed after {:?} while nobody was killed: {}",
                *ended - *begun,
                error.chain()
            )
        })?;
        lost += 1;
    }
    eprintln!(
        "{} calls, {} kills, {lost} that may have run were lost",
        made.len(),
        kills.len()
    );
    ensure(made.len() > 500 && ran.len() > 500, || {
        format!("{} calls", made.len())
    })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds {
        Ok(())
    } else {
        Err(otherwise().into())
    }
}
