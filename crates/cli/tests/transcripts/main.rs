//! The command as a person meets it: the real binary, real processes, the file registry in a
//! directory of each test's own.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "without libtest's harness clippy cannot tell that this is a test"
)]

mod bad_input;
mod demo;
mod dns;
mod doctor;
mod etcd;
mod flags;
mod guarded;
mod hostile;
mod house;
mod lifecycle;
mod output;
mod outside;
mod refusals;
mod run;
mod secrets;
mod shell;
mod subject;
mod watch;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    match std::env::var("WAYPOST_TEST_ROLE").as_deref() {
        Ok("subject") => return subject::main(),
        Ok("outside") => return outside::main(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting.
    arguments.test_threads.get_or_insert(4);
    let trials = [
        bad_input::trials(),
        demo::trials(),
        dns::trials(),
        doctor::trials(),
        etcd::trials(),
        flags::trials(),
        hostile::trials(),
        lifecycle::trials(),
        output::trials(),
        outside::trials(),
        refusals::trials(),
        run::trials(),
        secrets::trials(),
        shell::trials(),
        watch::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test of each law, under the name of its module.
fn laws(module: &str, laws: &[(&str, fn())]) -> Vec<Trial> {
    let trial = |(name, law): &(&str, fn())| {
        let law = *law;
        Trial::test(format!("{module}::{name}"), move || {
            law();
            Ok(())
        })
    };
    laws.iter().map(trial).collect()
}
