//! What is known of a running service, in one place that everybody reads.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use waypost_core::{Error, ErrorKind, State};

/// Where the service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    /// Asked to stop, and still registered: what must be done first is done.
    Stopping,
    /// Deregistered, or about to be.
    Leaving,
    /// The listener closes.
    Closing,
}

/// What is known of the record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    /// `None` while the service does not mean to be registered.
    pub(crate) state: Option<State>,
    /// Why it is not live.
    pub(crate) cause: Option<Error>,
    /// Whether a lookup has found the record since it was registered.
    pub(crate) proven: bool,
    /// How long it took until a reader saw the record.
    pub(crate) propagation: Duration,
    /// When the record was last removed.
    pub(crate) removed: Option<Instant>,
}

impl Presence {
    /// Whether callers find this node. A registry that cannot be reached makes no node unready:
    /// callers keep what they know, and a fleet that went unready together would be an outage that
    /// the registry alone is not.
    fn holds(&self) -> bool {
        let unreachable =
            |error: &Error| matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        self.proven
            && match self.state {
                Some(State::Live | State::Degraded) => true,
                Some(State::Lost) => self.cause.as_ref().is_some_and(unreachable),
                _ => false,
            }
    }
}

/// What is known of one health check.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) passing: bool,
    pub(crate) cause: Option<String>,
}

/// Everything that is known.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    pub(crate) presence: Presence,
    pub(crate) checks: Vec<Checked>,
}

impl View {
    /// Whether the record should be written. A service that stops keeps the one it has, and writes
    /// none any more.
    pub(crate) fn begins_record(&self) -> bool {
        self.phase == Phase::Serving && self.wants_record()
    }

    /// Whether the record should stay.
    pub(crate) fn wants_record(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Stopping)
            && self.checks.iter().all(|check| check.passing)
    }

    /// Whether callers should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.begins_record() && self.presence.holds()
    }

    /// One line for each thing that readiness depends on, for people.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        let mut line = |good: bool, name: &str, told: &str| {
            let sign = if good { '+' } else { '-' };
            // Writing to a text does not fail.
            let _ = writeln!(lines, "[{sign}]{name} {told}");
        };
        let phase = match self.phase {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Stopping => "stopping",
            Phase::Leaving => "leaving",
            Phase::Closing => "closing",
        };
        line(self.phase == Phase::Serving, "service", phase);
        let mut told = self.presence.state.map_or("none", State::as_str).to_owned();
        if self.presence.state == Some(State::Live) && !self.presence.proven {
            told.push_str(", not found by a lookup yet");
        }
        if let Some(cause) = &self.presence.cause {
            told = format!("{told}: {}", cause.chain());
        }
        line(self.presence.holds(), "registration", &told);
        for check in &self.checks {
            let told = check.cause.as_deref().unwrap_or("ok");
            line(check.passing, &check.name, told);
        }
        lines
    }
}

/// The view, shared by those who write and those who read it.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<watch::Sender<View>>);

impl Board {
    pub(crate) fn new(checks: impl IntoIterator<Item = String>) -> Self {
        let checks = checks.into_iter().map(|name| Checked {
            name,
            passing: false,
            cause: Some("not asked yet".to_owned()),
        });
        Self(Arc::new(watch::Sender::new(View {
            phase: Phase::Starting,
            presence: Presence::default(),
            checks: checks.collect(),
        })))
    }

    pub(crate) fn view(&self) -> View {
        self.0.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.0.subscribe()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_modify(|view| view.phase = phase);
    }

    pub(crate) fn present(&self, change: impl FnOnce(&mut Presence)) {
        self.0.send_modify(|view| change(&mut view.presence));
    }

    pub(crate) fn checked(&self, at: usize, passing: bool, cause: Option<String>) {
        self.0.send_if_modified(|view| {
            let Some(check) = view.checks.get_mut(at) else {
                return false;
            };
            let news = check.passing != passing || check.cause != cause;
            check.passing = passing;
            check.cause = cause;
            news
        });
    }

    /// Waits until the view satisfies `holds`.
    pub(crate) async fn until(&self, holds: impl FnMut(&View) -> bool) {
        // `self` holds the sender, so the channel cannot close meanwhile.
        let _ = self.watch().wait_for(holds).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_serving_and_registered_and_well() {
        let board = Board::new(["db".to_owned()]);
        assert!(!board.view().is_ready());
        board.enter(Phase::Serving);
        board.checked(0, true, None);
        assert!(board.view().wants_record() && !board.view().is_ready());
        board.present(|presence| presence.state = Some(State::Live));
        assert!(!board.view().is_ready(), "not proven");
        board.present(|presence| presence.proven = true);
        assert!(board.view().is_ready());
        let lines = "[+]service serving\n[+]registration live\n[+]db ok\n";
        assert_eq!(board.view().lines(), lines);
        board.checked(0, false, Some("refused".to_owned()));
        assert!(!board.view().is_ready());
        assert!(board.view().lines().ends_with("[-]db refused\n"));
        board.checked(0, true, None);
        board.enter(Phase::Stopping);
        let view = board.view();
        assert!(!view.is_ready() && view.wants_record() && !view.begins_record());
        board.enter(Phase::Leaving);
        assert!(!board.view().wants_record());
    }

    #[test]
    fn a_registry_that_cannot_be_reached_makes_no_node_unready() {
        let board = Board::new([]);
        board.enter(Phase::Serving);
        for (state, cause, ready) in [
            (State::Degraded, ErrorKind::Unavailable, true),
            (State::Lost, ErrorKind::Unavailable, true),
            (State::Lost, ErrorKind::Timeout, true),
            (State::Lost, ErrorKind::LeaseLost, false),
            (State::Lost, ErrorKind::Denied, false),
            (State::Registering, ErrorKind::Unavailable, false),
            (State::Released, ErrorKind::Unavailable, false),
        ] {
            board.present(|presence| {
                presence.proven = true;
                presence.state = Some(state);
                presence.cause = Some(Error::new(cause, "test"));
            });
            assert_eq!(board.view().is_ready(), ready, "{state:?} {cause:?}");
        }
    }
}
