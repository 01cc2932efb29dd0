//! The rounds of a blocking query: how soon to ask again, and since when.

use std::time::Duration;

use waypost_plugin_kit::Pace;

use crate::http::Since;

/// Answers that may follow each other at once, and the distance of those after them: while others
/// change things all the time, what is told is a quarter of a second old.
const BURST: u32 = 8;
const EVERY: Duration = Duration::from_millis(250);
/// The same for answers without a later index. An agent that answers at once whatever it is asked
/// is asked once a second. Two at once, as Consul's own clients do: a query of an unknown service
/// wakes for others' changes, and the first of those must not make us late.
const IDLE_BURST: u32 = 2;
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// Paces one blocking query and keeps the rules of its index.
#[derive(Debug)]
pub(crate) struct Rounds {
    pace: Pace,
    idle: Pace,
    index: u64,
    since: Since,
    moved: bool,
}

impl Rounds {
    /// Rounds after a first answer at `index`.
    pub(crate) fn new(index: u64) -> Self {
        Self {
            pace: Pace::new(BURST, EVERY),
            idle: Pace::new(IDLE_BURST, IDLE_EVERY),
            index,
            since: Since::Index(index),
            moved: true,
        }
    }

    /// Waits until it is time to ask again.
    ///
    /// # Cancel safety
    /// Safe, at the cost of a turn.
    pub(crate) async fn turn(&mut self) {
        self.pace.turn().await;
        if !self.moved {
            self.idle.turn().await;
        }
    }

    /// What to ask for.
    pub(crate) fn since(&self) -> &Since {
        &self.since
    }

    /// The index of the last answer.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Takes note of an answer at `index`.
    pub(crate) fn answered(&mut self, index: u64) {
        // What was asked without waiting says nothing about whether the agent waits.
        let waited = matches!(self.since, Since::Index(_));
        self.moved = waited && index > self.index;
        // Servers that went back in time have yet to come to what we would wait for.
        self.since = if index < self.index {
            Since::Now
        } else {
            Since::Index(index)
        };
        self.index = index;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Rounds in ten seconds of an agent that answers at once, with these indexes.
    async fn rounds(mut next: impl FnMut(u64) -> u64) -> usize {
        let mut rounds = Rounds::new(7);
        let end = Instant::now() + Duration::from_secs(10);
        let mut count = 0;
        loop {
            rounds.turn().await;
            if Instant::now() > end {
                return count;
            }
            count += 1;
            rounds.answered(next(rounds.index()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_never_blocks_is_not_asked_in_a_busy_loop() {
        // Always the same, and always "0", which is read as 1.
        for same in [7, 1] {
            let count = rounds(|_| same).await;
            assert!(count <= 15, "{count}");
        }
        let mut flip = false;
        let flipping = rounds(|_| {
            flip = !flip;
            if flip { 5 } else { 9 }
        });
        let count = flipping.await;
        assert!(count <= 15, "{count}");
        let churn = rounds(|index| index + 1).await;
        assert!((40..=50).contains(&churn), "{churn}");
    }

    #[test]
    fn an_index_that_went_back_is_not_waited_for() {
        let mut rounds = Rounds::new(9);
        assert!(matches!(rounds.since(), Since::Index(9)));
        rounds.answered(5);
        assert!(matches!(rounds.since(), Since::Now));
        rounds.answered(5);
        assert!(matches!(rounds.since(), Since::Index(5)));
    }
}
