//! What follows a program's end.

use std::str::FromStr;

/// Whether a program that crashed or hung is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Never,
    /// At most so many times; `None` for ever.
    OnFailure(Option<u32>),
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || "is none of never, on-failure and on-failure:TIMES".to_owned();
        match (text, text.strip_prefix("on-failure:")) {
            ("never", _) => Ok(Self::Never),
            ("on-failure", _) => Ok(Self::OnFailure(None)),
            (_, Some(times)) => times
                .parse()
                .map(|times| Self::OnFailure(Some(times)))
                .map_err(|_| fault()),
            _ => Err(fault()),
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(u8),
    /// It hung and was killed; the code that a shell would show for that.
    Hung(u8),
    /// Somebody asked for it.
    Stopped(u8),
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start it again; this is the how-manyth time.
    Again(u32),
    /// End with this code.
    Done(u8),
}

/// A restart policy and how much of it is used up.
#[derive(Debug)]
pub(crate) struct Restarts {
    policy: Restart,
    used: u32,
}

impl Restarts {
    pub(crate) fn new(policy: Restart) -> Self {
        Self { policy, used: 0 }
    }

    /// Whether anything is done about a program that hangs.
    pub(crate) fn mends(&self) -> bool {
        self.policy != Restart::Never
    }

    /// Decides what follows an end.
    pub(crate) fn step(&mut self, end: End) -> Next {
        let code = match end {
            End::Stopped(code) | End::Exited(code @ 0) => return Next::Done(code),
            End::Exited(code) | End::Hung(code) => code,
        };
        match self.policy {
            Restart::OnFailure(most) if most.is_none_or(|most| self.used < most) => {
                self.used = self.used.saturating_add(1);
                Next::Again(self.used)
            }
            _ => Next::Done(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        assert_eq!("never".parse(), Ok(Restart::Never));
        assert_eq!("on-failure".parse(), Ok(Restart::OnFailure(None)));
        assert_eq!("on-failure:3".parse(), Ok(Restart::OnFailure(Some(3))));
        for bad in ["", "always", "on-failure:", "on-failure:x", "on-failure:-1"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }

    #[test]
    fn crashes_and_hangs_are_mended_so_many_times_and_ends_are_respected() {
        use End::{Exited, Hung, Stopped};
        for (policy, ends, expected) in [
            (Restart::Never, &[Exited(7)][..], Next::Done(7)),
            (Restart::Never, &[Exited(0)], Next::Done(0)),
            (
                Restart::OnFailure(Some(2)),
                &[Exited(7), Hung(137), Exited(9)],
                Next::Done(9),
            ),
            (
                Restart::OnFailure(Some(2)),
                &[Exited(7), Hung(137)],
                Next::Again(2),
            ),
            (Restart::OnFailure(Some(0)), &[Exited(7)], Next::Done(7)),
            (Restart::OnFailure(None), &[Exited(7); 9], Next::Again(9)),
            (
                Restart::OnFailure(None),
                &[Exited(7), Exited(0)],
                Next::Done(0),
            ),
            (Restart::OnFailure(None), &[Stopped(143)], Next::Done(143)),
        ] {
            let mut restarts = Restarts::new(policy);
            let last = ends.iter().map(|end| restarts.step(*end)).last();
            assert_eq!(last, Some(expected), "{policy:?} {ends:?}");
        }
    }
}
