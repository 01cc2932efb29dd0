//! Few streams that renew the leases of all records.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use futures_util::StreamExt as _;
use tokio::sync::{Notify, oneshot};
use waypost_core::{Error, ErrorKind, Result};
use waypost_plugin_kit::Task;

use crate::endpoints::Endpoints;
use crate::error;
use crate::turn::Turn;

/// Answers that are handed out under one lock.
const BATCH: usize = 256;

/// Renews leases over a fixed number of streams, by lease id: a follower of a cluster forwards the
/// renewals of one stream one after another, so that one stream alone is slow there, and a stream
/// a lease would be a task a lease, here and at the server.
///
/// A stream is opened by the first renewal that needs it. When it breaks, those who wait for an
/// answer fail, and the next renewal opens it again: the beat of the leases is the pace.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    endpoints: Arc<Endpoints>,
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    stream: Mutex<Option<Arc<Stream>>>,
    turn: Turn,
}

/// One open stream, and the tasks that write and read it.
struct Stream {
    desk: Arc<Desk>,
    _writer: Task,
    _reader: Task,
}

/// Who waits for an answer on a stream.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    /// There is something to ask for.
    asking: Notify,
    /// Answers so far.
    answers: AtomicU64,
    /// One more than `answers` was when somebody who gave up waiting had asked; 0 for nobody.
    abandoned: AtomicU64,
}

#[derive(Debug)]
enum Waiting {
    Open(Open),
    Broken(Error),
}

#[derive(Debug, Default)]
struct Open {
    /// By the lease that an answer will name.
    waiting: HashMap<i64, oneshot::Sender<i64>>,
    /// Leases that are yet to be asked for.
    asked: Vec<i64>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self::Open(Open::default())
    }
}

/// What a renewal that found no stream came to.
enum Opened {
    Stream(Arc<Stream>),
    /// The renewal that opens a stream is the first to be answered on it.
    Answered(Result<()>),
}

impl KeepAlive {
    pub(crate) fn new(endpoints: Arc<Endpoints>, streams: usize) -> Self {
        Self {
            endpoints,
            slots: (0..streams.max(1)).map(|_| Slot::default()).collect(),
        }
    }

    /// Renews `lease` once.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when the server does not know the lease.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have renewed.
    pub(crate) async fn renew(&self, lease: i64) -> Result<()> {
        let slot = self.slot(lease)?;
        let stream = match slot.usable() {
            Some(stream) => stream,
            None => {
                let ready = || slot.usable().map(Opened::Stream);
                // Boxed, since it is large and rare: every beat of every record would have to make
                // room for it.
                let open = Box::pin(self.open(slot, lease));
                match slot.turn.take(ready, open).await? {
                    Opened::Stream(stream) => stream,
                    Opened::Answered(result) => return result,
                }
            }
        };
        stream.ask(lease).await
    }

    /// Renews `lease` in passing, without news of whether that worked; does not wait for a stream
    /// that is open.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have renewed.
    pub(crate) async fn touch(&self, lease: i64) {
        match self.slot(lease).ok().and_then(Slot::usable) {
            Some(stream) => stream.desk.ask_for(lease),
            // The beat of the lease tells what is wrong.
            None => drop(self.renew(lease).await),
        }
    }

    fn slot(&self, lease: i64) -> Result<&Slot> {
        self.slots
            .get(index(lease, self.slots.len()))
            .ok_or_else(|| {
                let message = "no keep-alive stream is configured";
                Error::new(ErrorKind::Internal, message)
            })
    }

    async fn open(&self, slot: &Slot, lease: i64) -> Result<Opened> {
        let call = self.endpoints.call(|endpoint| async move {
            let (keeper, answers) = endpoint.lease().keep_alive(lease).await?;
            Ok((keeper, answers, endpoint.address().to_owned()))
        });
        let (keeper, answers, peer) = match call.await {
            Ok(opened) => opened,
            // This lease's own affair, nothing that those who wait for the stream should share.
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                return Ok(Opened::Answered(Err(error)));
            }
            Err(error) => return Err(error),
        };
        let desk = Arc::new(Desk::default());
        let stream = Stream {
            desk: Arc::clone(&desk),
            _writer: Task::spawn(write(keeper, Arc::clone(&desk))),
            _reader: Task::spawn(read(answers, desk, peer)),
        };
        *slot.stream() = Some(Arc::new(stream));
        Ok(Opened::Answered(Ok(())))
    }
}

/// Which of `count` slots renews `lease`. Servers give ids in steps, hence the stirring.
fn index(lease: i64, count: usize) -> usize {
    let stirred = lease.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let count = u64::try_from(count).unwrap_or(1).max(1);
    usize::try_from(stirred % count).unwrap_or(0)
}

impl Slot {
    fn stream(&self) -> MutexGuard<'_, Option<Arc<Stream>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream, if there is one from which an answer can be expected.
    fn usable(&self) -> Option<Arc<Stream>> {
        let mut stream = self.stream();
        if stream
            .as_ref()
            .is_some_and(|stream| !stream.desk.is_usable())
        {
            // Others may still wait on it, and hold it as long as they do.
            *stream = None;
        }
        stream.clone()
    }
}

impl Stream {
    async fn ask(&self, lease: i64) -> Result<()> {
        let answer = self.desk.expect(lease)?;
        let _patience = Patience {
            desk: &self.desk,
            asked_at: self.desk.answers.load(Ordering::Relaxed),
        };
        match answer.await {
            Ok(ttl) if ttl > 0 => Ok(()),
            Ok(_) => Err(Error::new(ErrorKind::LeaseLost, "the lease has expired")),
            Err(_) => Err(self.desk.why_broken()),
        }
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the stream is neither broken nor left without any answer until somebody gave up.
    fn is_usable(&self) -> bool {
        let silent =
            self.abandoned.load(Ordering::Relaxed) == self.answers.load(Ordering::Relaxed) + 1;
        !silent && matches!(*self.waiting(), Waiting::Open(_))
    }

    fn expect(&self, lease: i64) -> Result<oneshot::Receiver<i64>> {
        match &mut *self.waiting() {
            Waiting::Open(open) => {
                let (sender, receiver) = oneshot::channel();
                open.waiting.insert(lease, sender);
                open.asked.push(lease);
                self.asking.notify_one();
                Ok(receiver)
            }
            Waiting::Broken(error) => Err(error.clone()),
        }
    }

    /// Asks for a renewal whose answer nobody waits for.
    fn ask_for(&self, lease: i64) {
        if let Waiting::Open(open) = &mut *self.waiting() {
            open.asked.push(lease);
            self.asking.notify_one();
        }
    }

    fn why_broken(&self) -> Error {
        match &*self.waiting() {
            Waiting::Broken(error) => error.clone(),
            // A newer renewal of the same lease took the place of this one.
            Waiting::Open(_) => Error::unavailable("the renewal was given up"),
        }
    }

    fn answer(&self, batch: impl Iterator<Item = (i64, i64)>) {
        if let Waiting::Open(open) = &mut *self.waiting() {
            for (lease, ttl) in batch {
                // Before it is handed out: who gets it on another thread must not find that nobody
                // was answered since it asked.
                self.answers.fetch_add(1, Ordering::Relaxed);
                if let Some(sender) = open.waiting.remove(&lease) {
                    // Nobody may wait any more.
                    let _ = sender.send(ttl);
                }
            }
        }
    }

    /// Moves the leases to ask for into `batch`; none once the stream is broken.
    fn take_asked(&self, batch: &mut Vec<i64>) {
        if let Waiting::Open(open) = &mut *self.waiting() {
            batch.append(&mut open.asked);
        }
    }

    fn break_with(&self, error: Error) {
        *self.waiting() = Waiting::Broken(error);
    }
}

/// Notes when a renewal is given up that saw no sign of life on its stream: a frozen server is
/// then left by the next renewal, long before its pings stay unanswered.
struct Patience<'a> {
    desk: &'a Desk,
    asked_at: u64,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if self.desk.answers.load(Ordering::Relaxed) == self.asked_at {
            self.desk
                .abandoned
                .store(self.asked_at + 1, Ordering::Relaxed);
        }
    }
}

/// Asks for what has gathered.
///
/// The beats of a slot come together. Asked for one by one, as they come, each would be a packet
/// and a wake-up of its own, here and at the server: that was four fifths of the cost of a beat.
async fn write(mut keeper: LeaseKeeper, desk: Arc<Desk>) {
    let mut batch = Vec::new();
    loop {
        desk.asking.notified().await;
        // Steps behind those that are ready to run, which may be about to ask too.
        tokio::task::yield_now().await;
        desk.take_asked(&mut batch);
        for lease in batch.drain(..) {
            keeper.id = lease;
            if keeper.keep_alive().await.is_err() {
                // The stream has ended; who reads it tells why.
                return;
            }
        }
    }
}

/// Hands out answers until the stream ends.
async fn read(answers: LeaseKeepAliveStream, desk: Arc<Desk>, peer: String) {
    let mut batches = answers.ready_chunks(BATCH);
    while let Some(mut batch) = batches.next().await {
        let bad = batch.iter().position(Result::is_err);
        let broken = bad.map(|bad| batch.split_off(bad).swap_remove(0));
        let good = batch.into_iter().flatten();
        desk.answer(good.map(|answer| (answer.id(), answer.ttl())));
        if let Some(Err(told)) = broken {
            desk.break_with(error::fault(&peer, &told).error);
            return;
        }
    }
    let ended = format!("{peer}: the server ended the keep-alive stream");
    desk.break_with(Error::unavailable(ended));
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("desk", &self.desk)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_step_use_every_stream() {
        for step in [1, 2, 3, 4, 8, 16, 256] {
            let mut used = [0; 8];
            (0..8000).for_each(|n| used[index(7_587_868_094_823_456 + n * step, 8)] += 1);
            assert!(
                used.iter().all(|count| (700..1300).contains(count)),
                "{step}: {used:?}"
            );
        }
    }

    #[test]
    fn a_desk_that_was_left_in_silence_is_not_usable_until_it_answers() {
        let desk = Desk::default();
        let patience = |asked_at| Patience {
            desk: &desk,
            asked_at,
        };
        desk.answer([(1, 5)].into_iter());
        drop(patience(0));
        assert!(desk.is_usable(), "somebody else was answered meanwhile");
        drop(patience(1));
        assert!(!desk.is_usable());
        desk.answer([(2, 5)].into_iter());
        assert!(desk.is_usable());
    }

    #[test]
    fn who_was_answered_leaves_no_silence_behind() {
        let desk = Desk::default();
        let mut waiting = desk.expect(1).expect("open");
        let answered = |(lease, _): &(i64, i64)| {
            if *lease == 2 {
                assert_eq!(waiting.try_recv(), Ok(5), "it has its answer already");
                drop(Patience {
                    desk: &desk,
                    asked_at: 0,
                });
            }
        };
        desk.answer([(1, 5), (2, 5)].into_iter().inspect(answered));
        assert_eq!(desk.abandoned.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_broken_desk_tells_everybody_why() {
        let desk = Desk::default();
        let waiting = desk.expect(1).expect("open");
        desk.break_with(Error::unavailable("broken pipe"));
        assert!(waiting.await.is_err() && !desk.is_usable());
        assert_eq!(desk.why_broken().to_string(), "broken pipe");
        assert_eq!(
            desk.expect(2).expect_err("broken").to_string(),
            "broken pipe"
        );
    }
}
