//! What was seen during one repetition, in order: printed when the repetition fails.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::random::record::What;
use crate::random::tape::{Tape, now};

/// Most lines kept; the oldest go first.
const MOST: usize = 600;

/// A timeline that all observers of a house write. Clones share it.
#[derive(Debug, Clone)]
pub struct History {
    timeline: Arc<Mutex<Timeline>>,
    tape: Option<Arc<Tape>>,
}

#[derive(Debug)]
struct Timeline {
    begun: Instant,
    lines: VecDeque<Line>,
    dropped: usize,
}

#[derive(Debug)]
struct Line {
    at: Instant,
    who: String,
    what: String,
}

impl Default for History {
    fn default() -> Self {
        Self {
            timeline: Arc::new(Mutex::new(Timeline {
                begun: Instant::now(),
                lines: VecDeque::new(),
                dropped: 0,
            })),
            tape: None,
        }
    }
}

impl History {
    /// A timeline beside which everything is recorded in full.
    #[must_use]
    pub fn taped(tape: Arc<Tape>) -> Self {
        Self {
            tape: Some(tape),
            ..Self::default()
        }
    }

    /// Records what `who` does or sees at this moment, if there is a tape.
    pub fn tell<W: Into<Option<What>>>(&self, who: &str, what: impl FnOnce() -> W) {
        if let Some(tape) = &self.tape
            && let Some(what) = what().into()
        {
            tape.record_at(now(), who, what);
        }
    }

    /// As [`History::tell`], of an earlier moment.
    pub fn tell_at(&self, at: u64, who: &str, what: impl FnOnce() -> What) {
        if let Some(tape) = &self.tape {
            tape.record_at(at, who, what());
        }
    }

    /// Begins anew: earlier lines are forgotten.
    pub fn restart(&self) {
        let mut timeline = self.lock();
        timeline.begun = Instant::now();
        timeline.lines.clear();
        timeline.dropped = 0;
    }

    /// Adds a line.
    pub fn note(&self, who: impl fmt::Display, what: impl fmt::Display) {
        let mut timeline = self.lock();
        if timeline.lines.len() == MOST {
            timeline.lines.pop_front();
            timeline.dropped += 1;
        }
        timeline.lines.push_back(Line {
            at: Instant::now(),
            who: who.to_string(),
            what: what.to_string(),
        });
    }

    /// The timeline, one line an event, in seconds since the repetition began.
    #[must_use]
    pub fn render(&self) -> String {
        let timeline = self.lock();
        let mut text = String::new();
        if timeline.dropped > 0 {
            let _ = writeln!(text, "    ({} earlier lines)", timeline.dropped);
        }
        for Line { at, who, what } in &timeline.lines {
            let at = at.saturating_duration_since(timeline.begun).as_secs_f64();
            let _ = writeln!(text, "    {at:8.3} {who:<11} {what}");
        }
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
