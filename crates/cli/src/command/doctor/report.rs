//! What was found.

use serde::Serialize;

use crate::failure::{Failure, NO, OK, REGISTRY, one_line};
use crate::output::Output;
use crate::style::Paint;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Warning,
    Failed,
    /// The registry did not answer, or refused to.
    Unreachable,
    Skipped,
}

impl Status {
    fn sign(self) -> (&'static str, Paint) {
        match self {
            Self::Ok => ("✔", Paint::Green),
            Self::Warning => ("!", Paint::Yellow),
            Self::Failed | Self::Unreachable => ("✘", Paint::Red),
            Self::Skipped => ("-", Paint::Dim),
        }
    }
}

#[derive(Debug, Serialize)]
struct Check {
    group: &'static str,
    name: &'static str,
    status: Status,
    detail: String,
}

/// The checks, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report {
    checks: Vec<Check>,
}

/// The report as it is written in JSON.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    status: Status,
    checks: &'a [Check],
}

impl Report {
    fn add(&mut self, group: &'static str, name: &'static str, status: Status, detail: &str) {
        self.checks.push(Check {
            group,
            name,
            status,
            detail: one_line(detail),
        });
    }

    pub(super) fn ok(&mut self, group: &'static str, name: &'static str, detail: &str) {
        self.add(group, name, Status::Ok, detail);
    }

    pub(super) fn warn(&mut self, group: &'static str, name: &'static str, detail: &str) {
        self.add(group, name, Status::Warning, detail);
    }

    pub(super) fn fail(&mut self, group: &'static str, name: &'static str, detail: &str) {
        self.add(group, name, Status::Failed, detail);
    }

    pub(super) fn skip(&mut self, group: &'static str, name: &'static str, detail: &str) {
        self.add(group, name, Status::Skipped, detail);
    }

    pub(super) fn unreachable(&mut self, group: &'static str, name: &'static str, detail: &str) {
        self.add(group, name, Status::Unreachable, detail);
    }

    /// The worst that was found; a warning leaves the whole in order.
    fn status(&self) -> Status {
        let has = |status| self.checks.iter().any(|check| check.status == status);
        if has(Status::Unreachable) {
            Status::Unreachable
        } else if has(Status::Failed) {
            Status::Failed
        } else if has(Status::Warning) {
            Status::Warning
        } else {
            Status::Ok
        }
    }

    pub(super) fn code(&self) -> u8 {
        match self.status() {
            Status::Unreachable => REGISTRY,
            Status::Failed => NO,
            Status::Ok | Status::Warning | Status::Skipped => OK,
        }
    }

    pub(super) fn write(&self, output: &Output) -> Result<(), Failure> {
        if output.format.is_structured() {
            return output.value(&Whole {
                status: self.status(),
                checks: &self.checks,
            });
        }
        let mut text = String::new();
        let mut group = "";
        for check in &self.checks {
            if check.group != group {
                group = check.group;
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!(
                    "{gap}{}\n",
                    output.stdout.paint(Paint::Bold, group)
                ));
            }
            let (sign, paint) = check.status.sign();
            let sign = output.stdout.paint(paint, sign);
            text.push_str(&format!("  {sign} {}: {}\n", check.name, check.detail));
        }
        output.data(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_gives_the_code() {
        let mut report = Report::default();
        report.ok("a", "b", "");
        report.skip("a", "b", "");
        assert_eq!(report.code(), 0);
        report.warn("a", "b", "");
        assert_eq!(report.code(), 0);
        report.fail("a", "b", "");
        assert_eq!(report.code(), 1);
        report.unreachable("a", "b", "");
        assert_eq!(report.code(), 3);
    }
}
