//! What was seen during one repetition, in order: printed when the repetition fails.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Most lines kept; the oldest go first.
const MOST: usize = 600;

/// A timeline that all observers of a house write. Clones share it.
#[derive(Debug, Clone)]
pub struct History(Arc<Mutex<Timeline>>);

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
        Self(Arc::new(Mutex::new(Timeline {
            begun: Instant::now(),
            lines: VecDeque::new(),
            dropped: 0,
        })))
    }
}

impl History {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
