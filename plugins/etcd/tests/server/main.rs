//! What a real server says to the plugin: one trial a law, ignored with the reason without Docker.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a real server cannot be told to hurry"
)]

mod endpoints;
mod guard;
mod history;
mod layout;
mod leases;
mod login;
mod support;
mod tls;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use waypost_testkit::Missing;

use support::{Law, Verdict};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(_) => return ExitCode::FAILURE,
    };
    let laws = [
        layout::LAWS,
        leases::LAWS,
        guard::LAWS,
        history::LAWS,
        endpoints::LAWS,
        login::LAWS,
        tls::LAWS,
    ];
    let trials = laws.concat().into_iter().map(|law| trial(law, &runtime));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn trial((name, law): Law, runtime: &Arc<Runtime>) -> Trial {
    let runtime = Arc::clone(runtime);
    Trial::ignorable_test(name, move || {
        let outcome = runtime.block_on(runtime.spawn(law()));
        match outcome.map_err(|panic| Failed::from(panic.to_string()))? {
            Verdict::Kept => Ok(Completion::Completed),
            Verdict::Missing(missing) if Missing::is_failure() => {
                Err(Failed::from(missing.to_string()))
            }
            Verdict::Missing(missing) => Ok(Completion::ignored_with(missing.to_string())),
        }
    })
}
