//! Services as processes: what callers see while one is stopped or killed.
//!
//! The program starts itself as the service; see [`service::serve`].
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its service tells by its output"
)]

#[path = "process/caller.rs"]
mod caller;
mod common;
#[path = "process/service.rs"]
mod service;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use caller::{Callers, Sight};
use common::{Result, fetch};
use service::{How, Order, Process};

type Test = fn() -> BoxFuture<'static, Result<()>>;

/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(20);

macro_rules! trials {
    ($($name:ident)*) => { [$((stringify!($name), || Box::pin($name()))),*] };
}

fn main() -> ExitCode {
    if let Some(order) = Order::given() {
        return service::serve(&order);
    }
    let all: [(&str, Test); 8] = trials![
        sigterm_loses_no_call
        sigint_loses_no_call
        sigquit_loses_no_call
        a_cancel_from_code_loses_no_call
        what_is_under_way_is_finished_and_what_does_not_end_is_cut
        a_second_signal_leaves_at_once
        a_killed_service_is_gone_after_its_ttl
        signals_that_are_not_handled_end_the_process
    ];
    let trials = all.map(|(name, test)| Trial::test(name, move || run(test)));
    let mut arguments = Arguments::from_args();
    // Each counts calls a second: one at a time.
    arguments.test_threads.get_or_insert(2);
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn run(test: Test) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(test()).map_err(Failed::from)
}

fn ensure(holds: bool, told: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(told().into()) }
}

async fn sigterm_loses_no_call() -> Result<()> {
    loses_no_call(How::Signal(Signal::TERM)).await
}

async fn sigint_loses_no_call() -> Result<()> {
    loses_no_call(How::Signal(Signal::INT)).await
}

async fn sigquit_loses_no_call() -> Result<()> {
    loses_no_call(How::Signal(Signal::QUIT)).await
}

async fn a_cancel_from_code_loses_no_call() -> Result<()> {
    loses_no_call(How::Code).await
}

/// One of two nodes is stopped under 200 calls a second: none fails, the record goes before the
/// listener closes, and the hooks come in their order.
async fn loses_no_call(how: How) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let order = Order::new(folder.path());
    let mut leaving = Process::start(&order.clone().named("a")).await?;
    let _staying = Process::start(&order.clone().named("b")).await?;
    let callers = Callers::start(folder.path()).await?;
    callers.seen(2).await?;
    sleep(Duration::from_millis(500)).await;

    let sight = Sight::start(folder.path(), leaving.address()).await?;
    leaving.stop(how)?;
    let status = leaving.ended(LIMIT).await?;
    let seen = sight.end(LIMIT).await?;
    sleep(Duration::from_millis(500)).await;
    let (made, failed) = callers.end().await;
    ensure(status.success(), || format!("ended with {status}"))?;
    ensure(made > 200, || format!("only {made} calls were made"))?;
    ensure(failed.is_empty(), || {
        format!("{} of {made} failed: {failed:?}", failed.len())
    })?;
    // The default wait is a second at least; half of it tells the order without doubt.
    ensure(seen.closed - seen.gone > Duration::from_millis(500), || {
        format!(
            "deregistered {:?} before the listener closed",
            seen.closed - seen.gone
        )
    })?;
    let told = leaving.lines().await;
    let hooks = ["before_start", "after_start", "before_stop", "after_stop"];
    ensure(told == hooks, || format!("the hooks came as {told:?}"))
}

async fn what_is_under_way_is_finished_and_what_does_not_end_is_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut order = Order::new(folder.path());
    (order.drain, order.propagation) = (Duration::from_secs(4), Some(Duration::from_millis(100)));
    let mut process = Process::start(&order).await?;
    let address = process.address();
    let two = tokio::spawn(async move { fetch(address, "/sleep/2").await });
    let sixty = tokio::spawn(async move { fetch(address, "/sleep/60").await });
    sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    process.stop(How::Signal(Signal::TERM))?;
    let finished = two.await??;
    ensure(finished == (200, "slept 2".to_owned()), || {
        format!("{finished:?}")
    })?;
    let status = process.ended(LIMIT).await?;
    let took = begun.elapsed();
    ensure(status.success(), || format!("ended with {status}"))?;
    ensure(took >= Duration::from_secs(4), || {
        format!("left after {took:?}")
    })?;
    ensure(sixty.await?.is_err(), || {
        "the long call was answered".to_owned()
    })
}

async fn a_second_signal_leaves_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut order = Order::new(folder.path());
    order.drain = Duration::from_secs(600);
    let mut process = Process::start(&order).await?;
    let address = process.address();
    let call = tokio::spawn(async move { fetch(address, "/sleep/60").await });
    sleep(Duration::from_millis(300)).await;
    process.stop(How::Signal(Signal::TERM))?;
    sleep(Duration::from_millis(1500)).await;
    ensure(!process.has_ended(), || {
        "did not wait for its drain".to_owned()
    })?;
    process.stop(How::Signal(Signal::INT))?;
    let status = process.ended(LIMIT).await?;
    ensure(status.success(), || format!("ended with {status}"))?;
    ensure(call.await?.is_err(), || "the call was answered".to_owned())
}

async fn a_killed_service_is_gone_after_its_ttl() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut order = Order::new(folder.path());
    order.ttl = Duration::from_secs(2);
    let mut process = Process::start(&order).await?;
    // Renewed meanwhile.
    sleep(order.ttl + Duration::from_millis(500)).await;
    let registry = service::registry(folder.path())?;
    let there = service::nodes(&*registry).await;
    ensure(there == 1, || format!("{there} nodes while it lives"))?;
    process.stop(How::Signal(Signal::KILL))?;
    process.ended(LIMIT).await?;
    let begun = Instant::now();
    while service::nodes(&*registry).await > 0 {
        // A third of a second more than the ttl and the registry's own slack.
        let most = order.ttl + registry.profile().slack + Duration::from_millis(300);
        ensure(begun.elapsed() < most, || {
            format!("there after {:?}", begun.elapsed())
        })?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn signals_that_are_not_handled_end_the_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut order = Order::new(folder.path());
    order.signals = false;
    let mut process = Process::start(&order).await?;
    process.stop(How::Signal(Signal::TERM))?;
    let status = process.ended(LIMIT).await?;
    ensure(!status.success(), || format!("ended with {status}"))?;
    let told = process.lines().await;
    ensure(told == ["before_start", "after_start"], || {
        format!("{told:?}")
    })
}
