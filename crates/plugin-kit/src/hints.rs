//! Hints that something may have changed, however many come at once.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

/// Gives hints; clones hint to the same reader.
#[derive(Debug, Clone)]
pub struct Hinter(mpsc::Sender<()>);

impl Hinter {
    /// Tells the reader to look. Never blocks; a hint that nobody has taken yet stands for later
    /// ones too. May be called from any thread.
    pub fn hint(&self) {
        // Full means that a hint is waiting already; closed means that nobody reads any more.
        let _ = self.0.try_send(());
    }

    /// Whether nobody reads the hints any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The stream of hints, for [`relist`](crate::relist); ends when every [`Hinter`] is gone.
#[derive(Debug)]
pub struct Hints(mpsc::Receiver<()>);

/// A pair of hint giver and reader.
#[must_use]
pub fn hints() -> (Hinter, Hints) {
    let (sender, receiver) = mpsc::channel(1);
    (Hinter(sender), Hints(receiver))
}

impl Stream for Hints {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn hints_that_nobody_took_become_one() {
        let (hinter, mut hints) = hints();
        for _ in 0..1000 {
            hinter.hint();
        }
        assert_eq!(hints.next().now_or_never(), Some(Some(())));
        assert_eq!(hints.next().now_or_never(), None);
        drop(hinter);
        assert_eq!(hints.next().now_or_never(), Some(None));
    }
}
