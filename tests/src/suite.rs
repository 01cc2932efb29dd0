//! Runs the table of faults under libtest's flags, and prints it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use waypost_testkit::Missing;

use crate::Failure;
use crate::backend::Backend;
use crate::faults::Fault;
use crate::house::House;

mod mixed;
mod table;

pub use mixed::{Alone, Mixed};
pub use table::{Row, Table, Verdict};

/// Faults that are under way at the same time: mostly they wait.
const AT_ONCE: usize = 3;
/// How often each fault is repeated, unless it says otherwise.
const REPEAT: usize = 5;
/// What the names of the few begin with that are tried with every change.
const FEW: &[&str] = &[
    "F01_",
    "F02_",
    "F05_",
    "F07_server_down_for_five_seconds",
    "F08_",
    "F09_",
    "F13_",
    "F14_",
    "F15_",
    "F19_",
    "F24_",
    "F27_",
];

/// Which faults are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: nobody asked.
    None,
    /// A few of each table, once.
    Few,
    /// All, as often as each says.
    All,
}

impl Wanted {
    /// What `WAYPOST_FAULTS` says: `all`, `few`, or nothing.
    #[must_use]
    pub fn read() -> Self {
        match std::env::var("WAYPOST_FAULTS").as_deref() {
            Ok("all") => Self::All,
            Ok("few") => Self::Few,
            _ => Self::None,
        }
    }

    /// Why a fault of this name is left out, if it is.
    fn refuses(self, name: &str) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Few if FEW.iter().any(|few| name.starts_with(few)) => None,
            Self::Few => Some("run with --faults"),
            Self::None => Some("`cargo xtask test` runs some, with --faults all"),
        }
    }
}

/// Where the suite finds and leaves things.
#[derive(Debug, Clone)]
pub struct Places {
    /// The agent's program.
    pub agent: PathBuf,
    /// The file that the table is written to.
    pub table: PathBuf,
}

/// The `main` of a fault suite on one kind of server.
///
/// Runs only what is asked for (`WAYPOST_FAULTS=all` or `few`), else every fault is shown as
/// ignored; without Docker too, unless `WAYPOST_REQUIRE=docker` makes that a failure.
/// `WAYPOST_FAULT_REPEAT` says how often each of all faults is repeated (5); with
/// `WAYPOST_FAULT_TRACE` every timeline is printed.
pub fn main<B: Backend>(faults: Vec<Fault<B>>, places: Places) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let names = faults.iter().map(|fault| fault.name);
    if arguments.list {
        let trials = names.map(|name| Trial::test(name, || Ok(()))).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let wanted = Wanted::read();
    let refused = names.filter_map(|name| Some((name, wanted.refuses(name)?)));
    let ignored = refused.map(|(name, reason)| {
        Trial::ignorable_test(name, move || Ok(Completion::ignored_with(reason)))
    });
    let ignored: Vec<Trial> = ignored.collect();
    let faults = faults.into_iter();
    let faults: Vec<_> = faults
        .filter(|fault| wanted.refuses(fault.name).is_none())
        .collect();
    if faults.is_empty() {
        return libtest_mimic::run(&arguments, ignored).exit_code();
    }
    run(&arguments, faults, ignored, places)
}

/// How often each fault of a table is repeated.
fn repeat_asked() -> usize {
    let asked = std::env::var("WAYPOST_FAULT_REPEAT").ok();
    match Wanted::read() {
        Wanted::All => asked.and_then(|text| text.parse().ok()).unwrap_or(REPEAT),
        Wanted::Few | Wanted::None => 1,
    }
}

fn runtime() -> std::io::Result<Arc<Runtime>> {
    let mut builder = Builder::new_multi_thread();
    Ok(Arc::new(builder.worker_threads(2).enable_all().build()?))
}

fn run<B: Backend>(
    arguments: &Arguments,
    faults: Vec<Fault<B>>,
    ignored: Vec<Trial>,
    places: Places,
) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(arguments, &faults, &format!("no tokio runtime: {error}")),
    };
    // One server is started to see whether there can be any.
    if let Err(error) = runtime.block_on(B::open(&[], false)) {
        if Missing::new(error.to_string()).is_failure() {
            return refuse(
                arguments,
                &faults,
                &format!("{error} (WAYPOST_REQUIRE asks for it)"),
            );
        }
        let reason = error.to_string();
        let trials = faults.iter().map(|fault| {
            let reason = reason.clone();
            Trial::ignorable_test(fault.name, move || Ok(Completion::ignored_with(reason)))
        });
        return libtest_mimic::run(arguments, trials.collect()).exit_code();
    }
    let table = Arc::new(Mutex::new(Table::new(
        B::NAME,
        faults.iter().map(|f| f.name),
    )));
    let trials = faults.into_iter().map(|fault| {
        let (runtime, table) = (Arc::clone(&runtime), Arc::clone(&table));
        let places = places.clone();
        Trial::ignorable_test(fault.name, move || {
            trial(&runtime, &fault, repeat_asked(), &places, &table)
        })
    });
    let trials = trials.chain(ignored).collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    show(&table, &places);
    conclusion.exit_code()
}

fn show(table: &Mutex<Table>, places: &Places) {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.print();
    // A part of the faults, or one that is tried alone, leaves the table of all as it is.
    if Wanted::read() == Wanted::All
        && table.len() > 1
        && let Err(error) = table.write(&places.table)
    {
        table::line(&format!("{}: {error}", places.table.display()));
    }
}

fn refuse<B>(arguments: &Arguments, faults: &[Fault<B>], reason: &str) -> ExitCode {
    let trials = faults.iter().map(|fault| {
        let reason = reason.to_owned();
        Trial::test(fault.name, move || Err(Failed::from(reason)))
    });
    libtest_mimic::run(arguments, trials.collect()).exit_code()
}

fn trial<B: Backend>(
    runtime: &Runtime,
    fault: &Fault<B>,
    times: usize,
    places: &Places,
    table: &Mutex<Table>,
) -> Result<Completion, Failed> {
    let _inside = runtime.enter();
    let row = match runtime.block_on(repeat(fault, times, places)) {
        Ok(row) => row,
        Err(missing) if missing.is_failure() => return Err(Failed::from(missing)),
        Err(missing) => return Ok(Completion::ignored_with(missing)),
    };
    let failure = row.failure.clone();
    table
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .add(row);
    failure.map_or(Ok(Completion::Completed), |text| Err(Failed::from(text)))
}

/// Carries a fault out as often as asked, in one house.
async fn repeat<B: Backend>(
    fault: &Fault<B>,
    times: usize,
    places: &Places,
) -> Result<Row, Missing> {
    let mut row = Row::new(fault.name, fault.bound);
    let mut house = match House::<B>::open(fault.shape, &places.agent).await {
        Ok(house) => house,
        Err(error) => {
            let error = missing_or(error)?;
            row.fail(
                fault.law,
                &format!("the house could not be opened: {error}"),
                "",
            );
            return Ok(row);
        }
    };
    for repetition in 1..=times {
        if let Err(error) = house.settle().await {
            let text = format!("repetition {repetition} could not begin: {error}");
            row.fail(fault.law, &text, &house.history.render());
            return Ok(row);
        }
        let measured = (fault.run)(&mut house).await;
        let checked = house.check().await;
        row.stall = row.stall.max(house.stall());
        if std::env::var_os("WAYPOST_FAULT_TRACE").is_some() {
            table::line(&format!(
                "{} {repetition}\n{}",
                fault.name,
                house.history.render()
            ));
        }
        match measured.and_then(|value| checked.map(|()| value)) {
            Ok(value) => {
                row.measured.push(value);
                if !fault.bound.holds(value) {
                    let text = format!(
                        "repetition {repetition} took {value:.2} {}, over {}",
                        fault.bound.unit, fault.bound
                    );
                    row.fail(fault.law, &text, &house.history.render());
                }
            }
            Err(error) => {
                let text = format!("repetition {repetition}: {}", missing_or(error)?);
                row.fail(fault.law, &text, &house.history.render());
            }
        }
    }
    Ok(row)
}

/// The failure, unless it says that something cannot be had here.
fn missing_or(failure: Failure) -> Result<Failure, Missing> {
    failure
        .downcast::<Missing>()
        .map_or_else(Ok, |missing| Err(*missing))
}
