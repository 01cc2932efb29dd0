//! The standard output, which carries data, and the standard error, which carries everything else.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Failure, one_line};
use crate::style::{Paint, Style};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// More columns
    Wide,
    /// JSON; for `watch` one object a line
    Json,
    /// Names only, one a line
    Name,
}

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) stdout: Style,
    stderr: Style,
}

impl Output {
    pub(crate) fn new(format: Format, no_color: bool) -> Self {
        Self {
            format,
            stdout: Style::stdout(no_color),
            stderr: Style::stderr(no_color),
        }
    }

    /// Writes data, and hands it on at once.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Writes one line of data.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.data(&format!("{text}\n"))
    }

    /// Writes one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::no(format!("cannot write JSON: {error}")))?;
        self.line(&text)
    }

    /// Tells people something. Nobody reading is no reason to fail.
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", one_line(text));
    }

    /// Tells people of something that is not as it should be.
    pub(crate) fn warn(&self, text: &str) {
        let mark = self.stderr.paint(Paint::Yellow, "warning:");
        let _ = writeln!(io::stderr().lock(), "{mark} {}", one_line(text));
    }

    /// Tells why the command fails.
    pub(crate) fn error(&self, text: &str) {
        let mark = self.stderr.paint(Paint::Red, "error:");
        let _ = writeln!(io::stderr().lock(), "{mark} {}", one_line(text));
    }
}
