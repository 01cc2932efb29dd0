//! What the runner shows when there is no backend. This program runs itself as such a suite.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use waypost_core::Error;
use waypost_testkit::{Driven, Missing, cases, main as run};

const ROLE: &str = "WAYPOST_TEST_ROLE";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("missing") => run(async || Err::<Nothing, _>(Missing::new("there is no backend"))),
        Ok("faulty") => run(async || Err::<Nothing, _>(Missing::from(Error::config("a typo")))),
        Ok("listing") => run(async || -> Result<Nothing, Missing> {
            std::process::exit(7);
        }),
        _ => {
            let laws = vec![
                Trial::test(
                    "without_a_backend_every_case_is_ignored_by_that_reason",
                    ignored,
                ),
                Trial::test(
                    "a_required_backend_that_is_missing_fails_every_case",
                    refused,
                ),
                Trial::test("a_fault_of_the_test_itself_fails_every_case", faulty),
                Trial::test("listing_names_every_case_and_asks_for_no_backend", listed),
            ];
            libtest_mimic::run(&Arguments::from_args(), laws).exit_code()
        }
    }
}

type Nothing = Driven<fn(&str) -> String>;

fn suite(role: &str, required: &str, arguments: &[&str]) -> Result<(Output, String), Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role).env("WAYPOST_REQUIRE", required);
    let output = command.args(arguments).output()?;
    let text = String::from_utf8(output.stdout.clone())?;
    Ok((output, text))
}

fn lines_with(text: &str, part: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with("test ") && line.contains(part))
        .count()
}

fn expect(condition: bool, text: &str) -> Result<(), Failed> {
    if condition {
        Ok(())
    } else {
        Err(Failed::from(text))
    }
}

fn ignored() -> Result<(), Failed> {
    let (output, text) = suite("missing", "", &[])?;
    let shown = lines_with(&text, " ... ignored (there is no backend)");
    expect(output.status.success() && shown == cases().len(), &text)
}

fn refused() -> Result<(), Failed> {
    let (output, text) = suite("missing", "docker", &[])?;
    let shown = lines_with(&text, " ... FAILED");
    expect(!output.status.success() && shown == cases().len(), &text)?;
    expect(
        text.contains("there is no backend (WAYPOST_REQUIRE asks for it)"),
        &text,
    )
}

fn faulty() -> Result<(), Failed> {
    let (output, text) = suite("faulty", "", &[])?;
    let shown = lines_with(&text, " ... FAILED");
    expect(!output.status.success() && shown == cases().len(), &text)?;
    expect(
        text.contains("a typo") && !text.contains("asks for it"),
        &text,
    )
}

fn listed() -> Result<(), Failed> {
    let (output, text) = suite("listing", "docker", &["--list"])?;
    let shown: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    let names = cases().iter().map(|case| case.name).collect();
    expect(output.status.success() && shown == names, &text)
}
