//! What a plugin's own tests on a real server look like: laws, one trial each.

use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use crate::Missing;

/// How a law ended. A broken one panics or returns an error; [`Missing`] as the error ignores it,
/// unless it is required.
pub type Kept = Result<(), Box<dyn Error + Send + Sync>>;

/// A law by its name. [`laws!`](crate::laws) makes them of functions.
pub type Law = (&'static str, fn() -> Pin<Box<dyn Future<Output = Kept>>>);

/// Makes the table `LAWS` of a file: async functions that return [`Kept`], by their own names.
#[macro_export]
macro_rules! laws {
    ($($name:ident),+ $(,)?) => {
        /// The laws of this file.
        pub(crate) const LAWS: &[$crate::Law] =
            &[$((stringify!($name), || ::std::boxed::Box::pin($name()))),+];
    };
}

/// The `main` of a test program with laws: one trial each, on one runtime, under libtest's flags.
#[must_use]
pub fn keep(laws: &[&[Law]]) -> ExitCode {
    let arguments = Arguments::from_args();
    with_runtime(|runtime| {
        let trial = |(name, law): Law| {
            let runtime = Arc::clone(runtime);
            Trial::ignorable_test(name, move || ended(runtime.block_on(law())))
        };
        let trials = laws.concat().into_iter().map(trial);
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    })
}

/// What is said of a test that ended so.
pub(crate) fn ended(kept: Kept) -> Result<Completion, Failed> {
    let Err(error) = kept else {
        return Ok(Completion::Completed);
    };
    match error.downcast_ref::<Missing>() {
        Some(missing) if missing.is_failure() => Err(missing.complaint().into()),
        Some(missing) => Ok(Completion::ignored_with(missing)),
        None => Err(Failed::from(error)),
    }
}

/// Runs tests on a runtime, inside of which what they leave is dropped: containers need it.
pub(crate) fn with_runtime(run: impl FnOnce(&Arc<Runtime>) -> ExitCode) -> ExitCode {
    match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let runtime = Arc::new(runtime);
            let _inside = runtime.enter();
            run(&runtime)
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "no tokio runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
