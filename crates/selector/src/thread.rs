//! What a thread keeps of each balancer: what it reads, where it stands, and spare shares of what it
//! reads for picks to take along. A pick writes nothing else.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use crate::counts::Counts;
use crate::local::{Local, Progress};
use crate::pick::Pick;
use crate::random::Random;
use crate::shared::Shared;
use crate::strategy::{Key, Strategy};

/// Most shares that are kept for further picks of a thread.
const SPARES: usize = 32;

/// One balancer's place in a thread.
struct Seat {
    /// Of what is read; no other balancer, then or later, has a version of that number.
    version: u64,
    local: Arc<Local>,
    /// Shares of `local` that picks have brought back. Taking one of them writes this thread's
    /// memory; a new one would be an atomic write, and another one when it ends.
    spares: Spares,
    progress: Progress,
}

impl Seat {
    fn new(version: u64, local: Arc<Local>) -> Self {
        Self {
            version,
            local,
            spares: Spares::default(),
            progress: Progress::new(),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(counts) = &self.local.counts {
            counts.leave();
        }
    }
}

#[derive(Default)]
struct Spares {
    all: [Option<Arc<Local>>; SPARES],
    count: usize,
}

impl Spares {
    #[inline(always)]
    fn take(&mut self) -> Option<Arc<Local>> {
        let last = self.count.checked_sub(1)?;
        self.count = last;
        self.all.get_mut(last)?.take()
    }

    /// Keeps one more; gives it back when there is no room.
    #[inline(always)]
    fn put(&mut self, held: Arc<Local>) -> Option<Arc<Local>> {
        match self.all.get_mut(self.count) {
            Some(place) => {
                self.count += 1;
                place.replace(held)
            }
            None => Some(held),
        }
    }
}

struct Thread {
    random: Random,
    seats: Vec<Option<Seat>>,
}

thread_local! {
    static THREAD: RefCell<Thread> = const {
        RefCell::new(Thread {
            random: Random::unseeded(),
            seats: Vec::new(),
        })
    };
}

/// Picks from the table that this thread has read. `None` when that takes more than a look: see
/// [`read`].
#[inline(always)]
pub(crate) fn quick(
    seat: usize,
    version: u64,
    strategy: &Strategy,
    key: Option<Key>,
    attended: bool,
) -> Option<Pick> {
    THREAD
        .try_with(|thread| {
            let mut thread = thread.try_borrow_mut().ok()?;
            let Thread { random, seats } = &mut *thread;
            let seat = seats.get_mut(seat)?.as_mut()?;
            if seat.version != version || (seat.local.table.troubled && !attended) {
                return None;
            }
            let local = &*seat.local;
            let choice = local.choose(random, &mut seat.progress, strategy, key)?;
            let held = seat.spares.take();
            let held = held.unwrap_or_else(|| Arc::clone(&seat.local));
            Some(Local::pick(held, choice))
        })
        .ok()
        .flatten()
}

/// Takes back the share of a pick that has ended.
#[inline(always)]
pub(crate) fn give_back(held: Arc<Local>) {
    // Let go of outside, if it is: others' code may run then, which may pick.
    let _left = THREAD.try_with(|thread| {
        let Ok(mut thread) = thread.try_borrow_mut() else {
            return Some(held);
        };
        let Some(Some(seat)) = thread.seats.get_mut(held.seat) else {
            return Some(held);
        };
        if !Arc::ptr_eq(&seat.local, &held) {
            return Some(held);
        }
        seat.spares.put(held)
    });
}

/// What this thread has read.
pub(crate) enum Read {
    /// Not what was published last.
    Stale,
    /// This.
    Ready(Arc<Local>),
    /// Nothing, and it cannot keep anything: it ends, or it is picking already.
    Unseated,
}

/// What this thread has read of the balancer at `seat`.
pub(crate) fn read(seat: usize, version: u64) -> Read {
    let found = THREAD.try_with(|thread| {
        let thread = thread.try_borrow().ok()?;
        let seat = thread.seats.get(seat).and_then(Option::as_ref);
        let seat = seat.filter(|seat| seat.version == version);
        Some(seat.map(|seat| Arc::clone(&seat.local)))
    });
    match found {
        Ok(Some(Some(local))) => Read::Ready(local),
        Ok(Some(None)) => Read::Stale,
        Ok(None) | Err(_) => Read::Unseated,
    }
}

/// Gives this thread `local` to read at its seat.
pub(crate) fn seat(version: u64, local: &Arc<Local>) {
    // Let go of outside: others' code may run then, which may pick.
    let _left = THREAD.try_with(|thread| {
        let Ok(mut thread) = thread.try_borrow_mut() else {
            return (Vec::new(), None, None);
        };
        thread.random.seed();
        // Balancers that are gone are let go of here, where something is made anyway.
        let seats = thread.seats.iter_mut();
        let gone: Vec<Seat> = seats
            .filter_map(|left| left.take_if(|seat| seat.local.shared.strong_count() == 0))
            .collect();
        if thread.seats.len() <= local.seat {
            thread.seats.resize_with(local.seat + 1, || None);
        }
        let Some(place) = thread.seats.get_mut(local.seat) else {
            return (gone, None, None);
        };
        match place {
            Some(known) if same_counts(&known.local, local) => {
                known.version = version;
                let spares = std::mem::take(&mut known.spares);
                let old = std::mem::replace(&mut known.local, Arc::clone(local));
                (gone, None, Some((spares, old)))
            }
            _ => {
                let old = place.replace(Seat::new(version, Arc::clone(local)));
                (gone, old, None)
            }
        }
    });
}

fn same_counts(one: &Local, other: &Local) -> bool {
    match (&one.counts, &other.counts) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => Weak::ptr_eq(&one.shared, &other.shared),
        _ => false,
    }
}

/// The counts that this thread has for the balancer at `seat`, if it picked from it before.
pub(crate) fn seated_counts(seat: usize, shared: &Weak<Shared>) -> Option<Arc<Counts>> {
    THREAD
        .try_with(|thread| {
            let thread = thread.try_borrow().ok()?;
            let seat = thread.seats.get(seat)?.as_ref()?;
            if !Weak::ptr_eq(&seat.local.shared, shared) {
                return None;
            }
            seat.local.counts.clone()
        })
        .ok()
        .flatten()
}
