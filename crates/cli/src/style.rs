//! Colour, where somebody is there to see it.

use std::ffi::OsString;
use std::io::IsTerminal;

/// A colour or weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

/// Whether one stream is painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// For the standard output.
    pub(crate) fn stdout(refused: bool) -> Self {
        Self::of(refused, std::io::stdout().is_terminal())
    }

    /// For the standard error.
    pub(crate) fn stderr(refused: bool) -> Self {
        Self::of(refused, std::io::stderr().is_terminal())
    }

    fn of(refused: bool, terminal: bool) -> Self {
        Self {
            on: decide(refused, terminal, &|name| std::env::var_os(name)),
        }
    }

    /// `text` in a colour, or as it is.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if self.on {
            format!("\u{1b}[{}m{text}\u{1b}[0m", paint.code())
        } else {
            text.to_owned()
        }
    }
}

/// `--no-color` and `NO_COLOR` win, then those that force colour, then what the terminal can do.
fn decide(refused: bool, terminal: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let forced = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    if refused || set("NO_COLOR") {
        return false;
    }
    if forced("FORCE_COLOR") || forced("CLICOLOR_FORCE") {
        return true;
    }
    terminal && variable("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_follows_the_conventions() {
        for (refused, terminal, variables, expected) in [
            (false, true, &[][..], true),
            (false, false, &[], false),
            (true, true, &[("FORCE_COLOR", "1")], false),
            (false, true, &[("NO_COLOR", "1")], false),
            (false, true, &[("NO_COLOR", "")], true),
            (
                false,
                true,
                &[("NO_COLOR", "1"), ("FORCE_COLOR", "1")],
                false,
            ),
            (false, false, &[("FORCE_COLOR", "1")], true),
            (false, false, &[("CLICOLOR_FORCE", "1")], true),
            (false, false, &[("CLICOLOR_FORCE", "0")], false),
            (false, true, &[("TERM", "dumb")], false),
        ] {
            let variable = |name: &str| {
                let pair = variables.iter().find(|(key, _)| *key == name);
                pair.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(
                decide(refused, terminal, &variable),
                expected,
                "{variables:?}"
            );
        }
    }
}
