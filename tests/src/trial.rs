//! Whole-house tests outside of the fault table, some of which need a server.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use waypost_testkit::{Missing, containers};

use crate::Result;

/// A test on what needs no server.
pub type Plain = fn() -> BoxFuture<'static, Result<()>>;
/// A test on an etcd, whose `host:port` it gets.
pub type OnEtcd = fn(String) -> BoxFuture<'static, Result<()>>;

/// A test and what it needs.
#[derive(Debug, Clone, Copy)]
pub enum Needs {
    /// Nothing.
    Nothing(Plain),
    /// An etcd: ignored with the reason where there is none.
    Etcd(OnEtcd),
}

/// The `main` of a test program: one trial a row.
pub fn main(rows: &[(&'static str, Needs)]) -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = match Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            tracing::error!(%error, "no tokio runtime");
            return ExitCode::FAILURE;
        }
    };
    let trial = |(name, needs): &(&'static str, Needs)| {
        let (needs, runtime) = (*needs, Arc::clone(&runtime));
        Trial::ignorable_test(*name, move || carry_out(&runtime, needs))
    };
    libtest_mimic::run(&arguments, rows.iter().map(trial).collect()).exit_code()
}

fn carry_out(runtime: &Runtime, needs: Needs) -> Result<Completion, Failed> {
    let done = match needs {
        Needs::Nothing(test) => runtime.block_on(test()),
        Needs::Etcd(test) => match runtime.block_on(containers::etcd_address()) {
            Ok(address) => runtime.block_on(test(address)),
            Err(missing) if Missing::is_failure() => Err(missing.into()),
            Err(missing) => return Ok(Completion::ignored_with(missing)),
        },
    };
    match done {
        Ok(()) => Ok(Completion::Completed),
        Err(failure) => Err(Failed::from(failure)),
    }
}
