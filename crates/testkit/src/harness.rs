//! The conformance suite, one trial a case, under libtest's flags and output.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use waypost_conformance::{Case, Outcome, Subject, cases};

use crate::Missing;
use crate::laws::{ended, with_runtime};

/// Cases run at the same time unless `--test-threads` says otherwise: most of a case is waiting.
const AT_ONCE: usize = 24;

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
    let arguments = arguments();
    if arguments.list {
        return libtest_mimic::run(&arguments, named("").collect()).exit_code();
    }
    with_runtime(|runtime| {
        let suite = Suite::start(runtime, "", subject());
        libtest_mimic::run(&arguments, suite.trials(runtime)).exit_code()
    })
}

/// The `main` of a plugin's `tests/versions.rs`: every case on a server of each version, as
/// `VERSION::CASE`, where everything is asked for by `WAYPOST_FULL=1`. Elsewhere each version is
/// shown as ignored.
///
/// A future makes the subject of a version; the rest is as in [`main`].
pub fn versions<S, Making>(versions: Vec<(&str, Making)>) -> ExitCode
where
    S: Subject,
    Making: Future<Output = Result<S, Missing>>,
{
    let arguments = arguments();
    if std::env::var_os("WAYPOST_FULL").is_none() {
        let ignored = |(version, _): &(&str, Making)| {
            let missing = || Missing::not_asked_for("half a minute; WAYPOST_FULL=1 runs it");
            Trial::ignorable_test(format!("{version}::the_suite"), move || {
                ended(Err(missing().into()))
            })
        };
        let trials = versions.iter().map(ignored).collect();
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    if arguments.list {
        let trials = versions.iter().flat_map(|(version, _)| named(version));
        return libtest_mimic::run(&arguments, trials.collect()).exit_code();
    }
    with_runtime(|runtime| {
        let start = |(version, making)| Suite::start(runtime, version, making);
        let suites: Vec<Suite> = versions.into_iter().map(start).collect();
        let trials = suites.iter().flat_map(|suite| suite.trials(runtime));
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    })
}

fn arguments() -> Arguments {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    arguments
}

/// Trials that have names alone.
fn named(version: &str) -> impl Iterator<Item = Trial> + use<> {
    let version = version.to_owned();
    cases()
        .iter()
        .map(move |case| Trial::test(name(&version, case), || Ok(())))
}

fn name(version: &str, case: &Case) -> String {
    match version {
        "" => case.name.to_owned(),
        version => format!("{version}::{}", case.name),
    }
}

/// The cases on one subject, or the reason that there is none.
struct Suite {
    version: String,
    subject: Result<Arc<dyn Subject>, Missing>,
}

impl Suite {
    fn start<S: Subject>(
        runtime: &Runtime,
        version: &str,
        making: impl Future<Output = Result<S, Missing>>,
    ) -> Self {
        Self {
            version: version.to_owned(),
            subject: match runtime.block_on(making) {
                Ok(subject) => Ok(Arc::new(subject)),
                Err(missing) => Err(missing),
            },
        }
    }

    fn trials(&self, runtime: &Arc<Runtime>) -> Vec<Trial> {
        let trial = |case: &'static Case| {
            let (runtime, subject) = (Arc::clone(runtime), self.subject.clone());
            Trial::ignorable_test(name(&self.version, case), move || match subject {
                Ok(subject) => checked(case, &runtime, subject),
                Err(missing) => ended(Err(missing.into())),
            })
        };
        cases().iter().map(trial).collect()
    }
}

fn checked(
    case: &'static Case,
    runtime: &Runtime,
    subject: Arc<dyn Subject>,
) -> Result<Completion, Failed> {
    match runtime.block_on(runtime.spawn(case.check(subject))) {
        Ok(Outcome::Passed) => Ok(Completion::Completed),
        Ok(Outcome::Ignored(reason)) => Ok(Completion::ignored_with(reason)),
        Ok(Outcome::Failed(text)) => Err(Failed::from(format!("{}\n  {text}", case.law))),
        Err(panic) => Err(Failed::from(format!("{}\n  {panic}", case.law))),
    }
}
