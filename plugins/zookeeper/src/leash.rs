//! The client's own task of a session, which must end before the client gives the session up.
//!
//! Without a connection the client tries the servers until the session has lasted 7/5 of its time since
//! a server was last heard. From then on it looks at that end only while it waits for something, and
//! waits for nothing but a connection. Where that fails at once (no descriptor is left, there is no
//! route) the client's task turns round without ever yielding, and with it the thread of the runtime:
//! on a runtime of one thread, the process.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use spawns_core::{Spawn, SpawnScope, Task};
use tokio::sync::Notify;
use tokio::time::Instant;
use waypost_plugin_kit::Waking;

/// How often a task is looked at that nothing else wakes, until it is known how long it may last, and
/// when it has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of a session, and told by its task.
#[derive(Debug, Default)]
pub(crate) struct Leash {
    /// How long the task goes on from when it last ran with a connection.
    length: OnceLock<Duration>,
    /// Since when there is no connection, if there is none.
    cut: Mutex<Option<Instant>>,
    ended: Notify,
}

impl Leash {
    /// From now on the task ends before the client's session of `session`, in which a server may be
    /// silent for `silence`, can be over.
    pub(crate) fn fasten(&self, session: Duration, silence: Duration) {
        // As the client reckons.
        let silence = if silence > session * 3 / 5 {
            session * 2 / 5
        } else {
            silence
        };
        // Silence is noticed at a tick, of which there are eight in it.
        let spent = silence * 9 / 8 + session / 20;
        let _ = self.length.set((session * 7 / 5).saturating_sub(spent));
    }

    /// Since when there is no connection, if there is none.
    pub(crate) fn cut(&self) -> MutexGuard<'_, Option<Instant>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the task was ended here. What waits for an answer of its client waits for ever then.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }
}

/// Puts tasks on a leash.
pub(crate) struct Holder(pub(crate) Arc<Leash>);

impl Holder {
    /// Has what the client spawns on this thread held here, for as long as the scope stands.
    pub(crate) fn enter(&self) -> SpawnScope<'_> {
        spawns_core::enter(self)
    }
}

impl Spawn for Holder {
    fn spawn(&self, task: Task) {
        let now = Instant::now();
        // It outlives whoever dropped the client: it has the session's end to tell the server.
        tokio::spawn(Held {
            task: Box::into_pin(task.future),
            leash: Arc::clone(&self.0),
            seen: now,
            waking: Waking::at(now + LOOK_EVERY),
            has_ended: false,
        });
    }
}

struct Held {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    leash: Arc<Leash>,
    /// When it last ran with a connection.
    seen: Instant,
    waking: Waking,
    has_ended: bool,
}

impl Held {
    /// Whether the task may run.
    fn may_run(&mut self, now: Instant, length: Option<Duration>) -> bool {
        if !self.has_ended && length.is_some_and(|length| now >= self.seen + length) {
            self.has_ended = true;
            self.leash.ended.notify_one();
        }
        !self.has_ended
    }
}

impl Future for Held {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let length = self.leash.length.get().copied();
        if !self.may_run(now, length) {
            // The client's watches panic when their session is dropped: they go first, with whoever
            // uses the session.
            if Arc::strong_count(&self.leash) == 1 {
                return Poll::Ready(());
            }
            self.waking.poll(now + LOOK_EVERY, context);
            return Poll::Pending;
        }
        if self.leash.cut().is_none() {
            self.seen = now;
        }
        let end = length.map_or(now + LOOK_EVERY, |length| self.seen + length);
        self.waking.poll(end, context);
        self.task.as_mut().poll(context)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "paused time")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    const SESSION: Duration = Duration::from_secs(30);
    const SILENCE: Duration = Duration::from_secs(2);
    /// 42 s, but for a silence and a tick of it, and a twentieth of the session.
    const LENGTH: Duration = Duration::from_millis(42_000 - 2_250 - 1_500);

    /// A task that beats every second for ever, and counts. Dropping it is told.
    fn beating(leash: &Arc<Leash>) -> Arc<AtomicUsize> {
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&beats);
        let holder = Holder(Arc::clone(leash));
        let _scope = holder.enter();
        drop(spawns_core::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(1)).await;
            }
        }));
        beats
    }

    #[test]
    fn a_leash_is_shorter_than_the_clients_patience_whatever_was_asked_for() {
        for (session, silence) in [(4_000, 2_000), (4_000, 20_000), (5_000, 3_000), (30_000, 1)] {
            let leash = Leash::default();
            let session = Duration::from_millis(session);
            leash.fasten(session, Duration::from_millis(silence));
            let length = *leash.length.get().expect("length");
            assert!(length >= session * 13 / 20, "{length:?} of {session:?}");
            assert!(length < session * 7 / 5, "{length:?} of {session:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_without_a_connection_ends_before_the_client_would_end_it() {
        let leash = Arc::new(Leash::default());
        let beats = beating(&leash);
        leash.fasten(SESSION, SILENCE);
        sleep(SESSION * 10).await;
        assert!(
            beats.load(Ordering::Relaxed) >= 299,
            "it goes on while connected"
        );
        let begun = Instant::now();
        *leash.cut() = Some(begun);
        let ended = timeout(SESSION * 2, leash.ended()).await;
        ended.expect("it ends");
        let took = begun.elapsed();
        let before = LENGTH - Duration::from_secs(1);
        assert!(
            took >= before && took <= LENGTH + Duration::from_millis(2),
            "{took:?}"
        );
        let at_end = beats.load(Ordering::Relaxed);
        sleep(SESSION).await;
        assert_eq!(beats.load(Ordering::Relaxed), at_end);
        assert_eq!(Arc::strong_count(&beats), 2, "it is kept while it is used");
        drop(leash);
        sleep(LOOK_EVERY * 2).await;
        assert_eq!(Arc::strong_count(&beats), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_returns_frees_the_task() {
        let leash = Arc::new(Leash::default());
        let beats = beating(&leash);
        leash.fasten(SESSION, SILENCE);
        for _ in 0..5 {
            *leash.cut() = Some(Instant::now());
            sleep(SESSION).await;
            *leash.cut() = None;
            sleep(Duration::from_secs(3)).await;
        }
        assert!(beats.load(Ordering::Relaxed) > 150);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_for_longer_runs_the_task_no_more() {
        let leash = Arc::new(Leash::default());
        let beats = beating(&leash);
        leash.fasten(SESSION, SILENCE);
        sleep(SESSION).await;
        let before = beats.load(Ordering::Relaxed);
        tokio::time::advance(SESSION * 2).await;
        let ended = timeout(SESSION * 2, leash.ended()).await;
        ended.expect("it ends");
        assert_eq!(beats.load(Ordering::Relaxed), before);
    }
}
