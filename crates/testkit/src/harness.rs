//! One trial a case, under libtest's flags and output.

use std::fmt;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use waypost_conformance::{Case, Outcome, Subject, cases};

/// Cases run at the same time unless `--test-threads` says otherwise: most of a case is waiting.
const AT_ONCE: usize = 24;

/// Says which kinds of backend must be had: `WAYPOST_REQUIRE=docker`.
const REQUIRE: &str = "WAYPOST_REQUIRE";

/// Why a backend cannot be had: no Docker, no image, no address.
#[derive(Debug, Clone)]
pub struct Missing(String);

impl Missing {
    /// A backend that cannot be had, for this reason (one line, lower case).
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Whether a missing backend has to be a failure: `WAYPOST_REQUIRE=docker`.
    #[must_use]
    pub fn is_failure() -> bool {
        std::env::var(REQUIRE)
            .is_ok_and(|required| required.split(',').any(|kind| kind == "docker"))
    }
}

impl From<waypost_core::Error> for Missing {
    fn from(error: waypost_core::Error) -> Self {
        Self(error.chain())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The `main` of a plugin's `tests/conformance.rs`: runs every case on the subject that `subject`
/// gives.
///
/// Takes libtest's flags (a filter, `--list`, `--exact`, `--skip`, `--test-threads`). `subject` is
/// called once, on the runtime that all cases share, and not at all for `--list`; what it gave is
/// dropped before the process ends, containers included.
pub fn main<S, Make, Making>(subject: Make) -> ExitCode
where
    S: Subject,
    Make: FnOnce() -> Making,
    Making: Future<Output = Result<S, Missing>>,
{
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    if arguments.list {
        let trials = cases().iter().map(|case| Trial::test(case.name, || Ok(())));
        return libtest_mimic::run(&arguments, trials.collect()).exit_code();
    }
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => return refuse(&arguments, &format!("no tokio runtime: {error}")),
    };
    match runtime.block_on(subject()) {
        Ok(subject) => {
            let subject: Arc<dyn Subject> = Arc::new(subject);
            let trial = |case: &'static Case| trial(case, &runtime, &subject);
            let code =
                libtest_mimic::run(&arguments, cases().iter().map(trial).collect()).exit_code();
            // What the subject owns may need the runtime to end it.
            let _inside = runtime.enter();
            drop(subject);
            code
        }
        Err(missing) if Missing::is_failure() => {
            refuse(&arguments, &format!("{missing} ({REQUIRE} asks for it)"))
        }
        Err(missing) => ignore(&arguments, &missing.to_string()),
    }
}

fn trial(case: &'static Case, runtime: &Arc<Runtime>, subject: &Arc<dyn Subject>) -> Trial {
    let (runtime, subject) = (Arc::clone(runtime), Arc::clone(subject));
    Trial::ignorable_test(case.name, move || {
        let task = runtime.spawn(case.check(subject));
        match runtime.block_on(task) {
            Ok(Outcome::Passed) => Ok(Completion::Completed),
            Ok(Outcome::Ignored(reason)) => Ok(Completion::ignored_with(reason)),
            Ok(Outcome::Failed(text)) => Err(Failed::from(format!("{}\n  {text}", case.law))),
            Err(panic) => Err(Failed::from(format!("{}\n  {panic}", case.law))),
        }
    })
}

fn ignore(arguments: &Arguments, reason: &str) -> ExitCode {
    let trial = |case: &Case| {
        let reason = reason.to_owned();
        Trial::ignorable_test(case.name, move || Ok(Completion::ignored_with(reason)))
    };
    libtest_mimic::run(arguments, cases().iter().map(trial).collect()).exit_code()
}

fn refuse(arguments: &Arguments, reason: &str) -> ExitCode {
    let trial = |case: &Case| {
        let reason = reason.to_owned();
        Trial::test(case.name, move || Err(Failed::from(reason)))
    };
    libtest_mimic::run(arguments, cases().iter().map(trial).collect()).exit_code()
}
