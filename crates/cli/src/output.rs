//! The standard output, which carries data, and the standard error, which carries everything else.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::{Failure, commands, one_line};
use crate::style::{Paint, Style};
use crate::yaml;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// More columns
    Wide,
    /// JSON; for `watch` one object a line
    Json,
    /// YAML; for `watch` one document a change
    Yaml,
    /// Names only, one a line
    Name,
}

impl Format {
    /// Whether programs read it, so that it is made of whole values.
    pub(crate) fn is_structured(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
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

    /// Writes one value: a line of JSON, or a document of YAML.
    pub(crate) fn value(&self, value: &impl Serialize) -> Result<(), Failure> {
        let fault = |error| Failure::no(format!("cannot write JSON: {error}"));
        if self.format == Format::Yaml {
            let value = serde_json::to_value(value).map_err(fault)?;
            return self.data(&format!("---\n{}", escaped(&yaml::render(&value))));
        }
        let text = serde_json::to_string(value).map_err(fault)?;
        self.line(&escaped(&text))
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

/// JSON or YAML with escapes in place of what a terminal would obey. Such characters stand in quotes
/// alone, and mean the same there; line ends are the document's own.
fn escaped(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for c in document.chars() {
        match commands(c) && c != '\n' {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_commands_no_terminal_and_means_the_same() {
        let text = "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{2028}ü";
        let json = escaped(&serde_json::to_string(text).expect("JSON"));
        assert_eq!(json, r#""a\u001b[2J\u009b\u007f\u202e\u2028ü""#);
        let read: String = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read, text);
    }
}
