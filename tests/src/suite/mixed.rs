//! Faults of several kinds of servers in one table.

use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use waypost_testkit::Missing;

use crate::Result;
use crate::backend::Backend;
use crate::faults::Fault;

use super::{AT_ONCE, Places, Table, Wanted, runtime, show, trial};

/// A test of its own beside the faults.
pub type Alone = fn() -> BoxFuture<'static, Result<()>>;

/// Carries a row out.
type Carry = Box<dyn FnOnce(&Runtime, &Places, &Mutex<Table>) -> Result<Completion, Failed> + Send>;

/// Rows of several kinds of servers.
pub struct Mixed {
    title: &'static str,
    places: Places,
    rows: Vec<Planned>,
}

struct Planned {
    name: &'static str,
    /// Rows of one rank are begun together.
    rank: usize,
    /// Whether it is asked for, and the flag that does.
    asked_by: (bool, &'static str),
    carry: Carry,
}

impl Mixed {
    /// A table of this title, without rows.
    #[must_use]
    pub fn new(title: &'static str, places: Places) -> Self {
        Self {
            title,
            places,
            rows: Vec::new(),
        }
    }

    /// Adds the faults of one kind of server, each with how often it is repeated. Those that stand
    /// at the same place of their lists are carried out at the same time.
    #[must_use]
    pub fn with<B: Backend>(mut self, faults: Vec<(usize, Fault<B>)>) -> Self {
        for (rank, (times, fault)) in faults.into_iter().enumerate() {
            self.rows.push(Planned {
                name: fault.name,
                rank,
                asked_by: (Wanted::read() == Wanted::All, "--faults"),
                carry: Box::new(move |runtime, places, table| {
                    trial(runtime, &fault, times, places, table)
                }),
            });
        }
        self
    }

    /// Adds a test that has no place in the table, run last and only with `--full`.
    #[must_use]
    pub fn with_long(mut self, name: &'static str, test: Alone) -> Self {
        self.rows.push(Planned {
            name,
            rank: usize::MAX,
            asked_by: (std::env::var_os("WAYPOST_FULL").is_some(), "--full"),
            carry: Box::new(move |runtime, _, _| alone(runtime, test)),
        });
        self
    }

    /// The `main` of the test program, as [`super::main`] is of one kind.
    #[must_use]
    pub fn run(mut self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(AT_ONCE);
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                super::table::line(&format!("no tokio runtime: {error}"));
                return ExitCode::FAILURE;
            }
        };
        self.rows.sort_by_key(|row| row.rank);
        let names = self.rows.iter().map(|row| row.name);
        let table = Arc::new(Mutex::new(Table::new(self.title, names)));
        let trials = self.rows.into_iter().map(|row| {
            let (runtime, table) = (Arc::clone(&runtime), Arc::clone(&table));
            let (places, (is_asked, flag)) = (self.places.clone(), row.asked_by);
            Trial::ignorable_test(row.name, move || {
                if is_asked {
                    (row.carry)(&runtime, &places, &table)
                } else {
                    Ok(Completion::ignored_with(format!("run with {flag}")))
                }
            })
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        show(&table, &self.places);
        conclusion.exit_code()
    }
}

impl fmt::Debug for Mixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.rows.iter().map(|row| row.name).collect();
        f.debug_struct("Mixed")
            .field("title", &self.title)
            .field("rows", &names)
            .finish_non_exhaustive()
    }
}

fn alone(runtime: &Runtime, test: Alone) -> Result<Completion, Failed> {
    let _inside = runtime.enter();
    match runtime.block_on(test()) {
        Ok(()) => Ok(Completion::Completed),
        Err(failure) => match failure.downcast_ref::<Missing>() {
            Some(missing) if !missing.is_failure() => Ok(Completion::ignored_with(missing)),
            _ => Err(Failed::from(failure)),
        },
    }
}
