//! The program of the random faults: a writer, one run that is asked for, or a short test a server.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use waypost_testkit::Missing;

use crate::Result;
use crate::agent::{Order, write};
use crate::backend::{Consul, Etcd, Zookeeper};
use crate::suite::Wanted;

use super::run::{Places, Wish, run};
use super::verdict::Verdict;

/// Environment variable with a [`Wish`] as JSON: one run instead of the tests.
const WISH: &str = "WAYPOST_RANDOM";
/// How long mishaps come in a test.
const SHORT: Duration = Duration::from_secs(45);

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());

type Started<'a> = BoxFuture<'a, Result<Verdict>>;

/// A server that random faults can happen to.
#[derive(Debug, Clone, Copy)]
struct Row {
    server: &'static str,
    test: &'static str,
    run: for<'a> fn(&'a Wish, &'a Places, Say) -> Started<'a>,
}

/// Where lines about the progress go.
type Say = fn(&str);

/// Every server.
const ROWS: &[Row] = &[
    Row {
        server: "etcd",
        test: "random_faults_on_etcd",
        run: |wish, places, say| Box::pin(run::<Etcd>(wish, places, say)),
    },
    Row {
        server: "consul",
        test: "random_faults_on_consul",
        run: |wish, places, say| Box::pin(run::<Consul>(wish, places, say)),
    },
    Row {
        server: "zookeeper",
        test: "random_faults_on_zookeeper",
        run: |wish, places, say| Box::pin(run::<Zookeeper>(wish, places, say)),
    },
];

/// The `main` of the program.
///
/// * With an agent's order in the environment it is a writer of the house.
/// * With a wish in the environment (`WAYPOST_RANDOM`, see [`Wish`]) it is one run.
/// * Else it runs a short test on each server with a fresh seed, under libtest's flags, if
///   `WAYPOST_FAULTS=all` asks for it.
pub fn main(places: Places) -> ExitCode {
    if let Ok(order) = std::env::var(Order::VARIABLE) {
        return be_a_writer(&order);
    }
    let runtime = match Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no tokio runtime: {error}")),
    };
    match std::env::var(WISH) {
        Ok(wish) => match serde_json::from_str::<Wish>(&wish) {
            Ok(wish) => one(&runtime, &wish, &places),
            Err(error) => refuse(&format!("{WISH}: {error}")),
        },
        Err(_) => tests(runtime, places),
    }
}

/// A writer: a runtime of one thread, as the other agents.
fn be_a_writer(order: &str) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_env_filter(EnvFilter::new("warn,waypost_core::registration=off"))
        .init();
    let worked = (|| -> Result<()> {
        let order: Order = serde_json::from_str(order)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(write(order))
    })();
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the writer ends");
            ExitCode::FAILURE
        }
    }
}

fn refuse(text: &str) -> ExitCode {
    aside(&format!("error: {text}"));
    ExitCode::from(2)
}

/// One run; its verdict on standard output, what it says meanwhile beside it.
fn one(runtime: &Runtime, wish: &Wish, places: &Places) -> ExitCode {
    let Some(row) = ROWS.iter().find(|row| row.server == wish.server) else {
        let known: Vec<&str> = ROWS.iter().map(|row| row.server).collect();
        let known = known.join(", ");
        return refuse(&format!("no server {}; there are: {known}", wish.server));
    };
    aside(&begins(wish));
    let verdict = match runtime.block_on((row.run)(wish, places, aside)) {
        Ok(verdict) => verdict,
        Err(error) => return refuse(&error.to_string()),
    };
    if wish.json {
        match serde_json::to_string(&verdict) {
            Ok(line) => print(&line),
            Err(error) => return refuse(&error.to_string()),
        }
    } else if verdict.holds() {
        print(&verdict.summary());
    }
    if verdict.holds() {
        ExitCode::SUCCESS
    } else {
        aside(&verdict.complaint());
        ExitCode::FAILURE
    }
}

fn begins(wish: &Wish) -> String {
    let Wish { server, seed, .. } = wish;
    format!("random faults on {server}: seed {seed}")
}

/// A test a server.
fn tests(runtime: Runtime, places: Places) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // With one thread a test's name is printed before what it says, and its end on another line.
    arguments.test_threads = Some(2);
    let wanted = Wanted::read() == Wanted::All;
    let runtime = std::sync::Arc::new(runtime);
    let trials = ROWS.iter().map(|row| {
        let (runtime, places) = (std::sync::Arc::clone(&runtime), places.clone());
        Trial::ignorable_test(row.test, move || {
            if wanted {
                test(&runtime, row, &places)
            } else {
                Ok(Completion::ignored_with("run with --faults"))
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn test(runtime: &Runtime, row: &Row, places: &Places) -> Result<Completion, Failed> {
    let wish = Wish {
        server: row.server.to_owned(),
        seed: u64::from(fastrand::u32(..)),
        lasts: SHORT,
        json: false,
    };
    // Two runs at once on a small machine would measure each other.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    in_table(&begins(&wish));
    match runtime.block_on((row.run)(&wish, places, |_| ())) {
        Ok(verdict) if verdict.holds() => {
            verdict.summary().lines().for_each(in_table);
            Ok(Completion::Completed)
        }
        Ok(verdict) => Err(Failed::from(verdict.complaint())),
        Err(error) => match error.downcast_ref::<Missing>() {
            Some(missing) if !missing.is_failure() => {
                Ok(Completion::ignored_with(missing.to_string()))
            }
            _ => Err(Failed::from(error)),
        },
    }
}

/// Lines that begin so are shown while the tests run.
fn in_table(text: &str) {
    print(&format!("| {text}"));
}

fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
