//! What the test programs said, in one table.

use std::collections::BTreeMap;

/// The result of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// Failed, and passed when it was tried again.
    Flaky,
    Ignored(String),
}

/// Reads one line of a test program's output: `test NAME ... ok`.
pub(crate) fn verdict(line: &str) -> Option<(String, Verdict)> {
    let (name, rest) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.trim().trim_end_matches(" - should panic").to_owned();
    let rest = rest.trim();
    let verdict = match rest.split_once([',', ' ']).map_or(rest, |(word, _)| word) {
        "ok" => Verdict::Passed,
        "FAILED" | "failed" => Verdict::Failed,
        "ignored" => {
            let reason = rest
                .trim_start_matches("ignored")
                .trim_start_matches([',', ' ']);
            // libtest puts the reason behind a comma, libtest-mimic into parentheses.
            let bare = reason
                .strip_prefix('(')
                .and_then(|reason| reason.strip_suffix(')'));
            let reason = match bare.unwrap_or(reason) {
                "" => "no reason given",
                reason => reason,
            };
            Verdict::Ignored(reason.to_owned())
        }
        _ => return None,
    };
    Some((name, verdict))
}

/// Counts of one test program.
#[derive(Debug, Default)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    seconds: f64,
}

/// The results of all test programs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    suites: Vec<(String, Counts)>,
    failures: Vec<String>,
    flaky: Vec<String>,
    ignored: BTreeMap<String, Vec<String>>,
}

impl Report {
    pub(crate) fn add(&mut self, suite: &str, cases: Vec<(String, Verdict)>, seconds: f64) {
        let mut counts = Counts {
            seconds,
            ..Counts::default()
        };
        for (name, verdict) in cases {
            match verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed => {
                    counts.failed += 1;
                    self.failures.push(format!("{suite}: {name}"));
                }
                Verdict::Flaky => {
                    counts.passed += 1;
                    self.flaky.push(format!("{suite}: {name}"));
                }
                Verdict::Ignored(reason) => {
                    counts.ignored += 1;
                    let names = self.ignored.entry(reason).or_default();
                    names.push(format!("{suite}: {name}"));
                }
            }
        }
        self.suites.push((suite.to_owned(), counts));
    }

    /// A program that failed without naming a case.
    pub(crate) fn add_crash(&mut self, suite: &str, text: &str) {
        self.add(suite, vec![(text.to_owned(), Verdict::Failed)], 0.0);
    }

    /// Prints the table; tells whether all is well.
    pub(crate) fn print(&self) -> bool {
        let width = self.suites.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or(0).max(5);
        println!("\n{:width$}  passed  failed  ignored  seconds", "suite");
        let mut total = Counts::default();
        for (name, counts) in &self.suites {
            if counts.passed + counts.failed + counts.ignored == 0 {
                continue;
            }
            println!(
                "{name:width$}  {:6}  {:6}  {:7}  {:7.1}",
                counts.passed, counts.failed, counts.ignored, counts.seconds
            );
            total.passed += counts.passed;
            total.failed += counts.failed;
            total.ignored += counts.ignored;
        }
        for (reason, names) in &self.ignored {
            println!("\nignored, {reason} ({}):", names.len());
            for name in names {
                println!("  {name}");
            }
        }
        for (title, names) in [
            ("flaky, passed at the second try only", &self.flaky),
            ("failed", &self.failures),
        ] {
            if !names.is_empty() {
                println!("\n{title} ({}):", names.len());
            }
            for name in names {
                println!("  {name}");
            }
        }
        println!(
            "\ntotal: {} passed, {} failed, {} skipped",
            total.passed, total.failed, total.ignored
        );
        total.failed == 0 && total.passed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest_and_its_kin_are_read() {
        let ignored = |reason: &str| Verdict::Ignored(reason.to_owned());
        for (line, name, expected) in [
            ("test a::b ... ok", "a::b", Verdict::Passed),
            ("test a ... ok (0.1s)", "a", Verdict::Passed),
            ("test a ... FAILED", "a", Verdict::Failed),
            (
                "test a ... ignored, no Docker, alas",
                "a",
                ignored("no Docker, alas"),
            ),
            (
                "test a ... ignored (profile: x)",
                "a",
                ignored("profile: x"),
            ),
            ("test a ... ignored", "a", ignored("no reason given")),
            (
                "test src/lib.rs - x (line 3) - compile ... ok",
                "src/lib.rs - x (line 3) - compile",
                Verdict::Passed,
            ),
        ] {
            assert_eq!(verdict(line), Some((name.to_owned(), expected)), "{line}");
        }
        assert_eq!(verdict("test result: ok. 3 passed"), None);
        assert_eq!(verdict("running 3 tests"), None);
    }
}
