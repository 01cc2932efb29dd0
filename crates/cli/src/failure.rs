//! How a command fails: an exit code, and one line for people.

use std::fmt::Display;
use std::io;

use waypost::ErrorKind;

/// Done.
pub(crate) const OK: u8 = 0;
/// The answer is no.
pub(crate) const NO: u8 = 1;
/// Wrong usage or bad input.
pub(crate) const USAGE: u8 = 2;
/// The registry was not reached, or refused.
pub(crate) const REGISTRY: u8 = 3;
/// The deadline passed.
pub(crate) const DEADLINE: u8 = 124;
/// Interrupted by SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// The sentence behind `error: `; none where there is nothing to say.
    pub(crate) message: Option<String>,
}

/// A command's result: its exit code, or why it failed.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    fn new(code: u8, message: impl Display) -> Self {
        Self {
            code,
            message: Some(one_line(&message.to_string())),
        }
    }

    /// The answer is no.
    pub(crate) fn no(message: impl Display) -> Self {
        Self::new(NO, message)
    }

    /// Wrong usage or bad input.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(USAGE, message)
    }

    /// The registry was not reached.
    pub(crate) fn registry(message: impl Display) -> Self {
        Self::new(REGISTRY, message)
    }

    /// The deadline passed.
    pub(crate) fn deadline(message: impl Display) -> Self {
        Self::new(DEADLINE, message)
    }

    /// Ends without a word.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            code,
            message: None,
        }
    }
}

/// The code for what a registry answered.
fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Config | ErrorKind::Unsupported => USAGE,
        ErrorKind::NotFound => NO,
        _ => REGISTRY,
    }
}

impl From<waypost::Error> for Failure {
    fn from(error: waypost::Error) -> Self {
        Self::new(code(error.kind()), error.chain())
    }
}

/// A reader that has seen enough is no failure; a disk that is full is.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(OK);
        }
        Self::new(NO, error)
    }
}

/// `text` without line breaks and other characters that a terminal would obey, which a registry's
/// answer might carry.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\r' => line.push(' '),
            c if commands(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Whether a terminal would obey `c` instead of showing it: control characters, and those that end a
/// line or turn the direction of what follows, so that a name reads as another.
pub(crate) fn commands(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        for (kind, expected) in [
            (ErrorKind::Config, 2),
            (ErrorKind::Unsupported, 2),
            (ErrorKind::NotFound, 1),
            (ErrorKind::LeaseLost, 3),
            (ErrorKind::Denied, 3),
            (ErrorKind::Unavailable, 3),
            (ErrorKind::Timeout, 3),
            (ErrorKind::Throttled, 3),
            (ErrorKind::Corrupt, 3),
            (ErrorKind::Closed, 3),
            (ErrorKind::Internal, 3),
        ] {
            assert_eq!(code(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        assert_eq!(one_line("a\nb\u{1b}[31mc\n"), "a b\\u{1b}[31mc");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((gone.code, gone.message), (0, None));
        assert_eq!(Failure::from(io::Error::other("disk full")).code, 1);
    }
}
