//! What a thread keeps of each balancer: what it reads, where it stands, and spare shares of what it
//! reads for picks to take along. A pick writes nothing else.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use fastrand::Rng;

use crate::counts::Counts;
use crate::local::{Local, Progress};
use crate::pick::Pick;
use crate::shared::Shared;
use crate::slots::Slots;
use crate::strategy::Key;

/// Most shares that are kept for further picks of a thread, beside the one at hand.
const SPARES: usize = 32;

/// One balancer's place in a thread. No borrow of it is held while others' code may run (where a
/// share is let go of): that may pick. Aligned, so that where the seat of a number is takes a shift.
#[repr(align(128))]
struct Seat {
    /// Of what is read; no other balancer, then or later, has a version of that number. 0 for none.
    version: Cell<u64>,
    /// A share of what is read that a pick has brought back. Taking it writes this thread's memory; a
    /// new one would be an atomic write, and another one when it ends.
    spare: Cell<Option<Arc<Local>>>,
    /// Whose shares come back here; `local` keeps it, so that nothing else can be at that address.
    own: Cell<*const Local>,
    progress: Progress,
    /// Further ones.
    spares: RefCell<Vec<Arc<Local>>>,
    local: RefCell<Option<Arc<Local>>>,
}

impl Default for Seat {
    fn default() -> Self {
        Self::new()
    }
}

/// What a seat has let go of.
type Left = (Option<Arc<Local>>, Option<Arc<Local>>, Vec<Arc<Local>>);

impl Seat {
    const fn new() -> Self {
        Self {
            version: Cell::new(0),
            spare: Cell::new(None),
            own: Cell::new(ptr::null()),
            progress: Progress::new(),
            spares: RefCell::new(Vec::new()),
            local: RefCell::new(None),
        }
    }

    /// A share.
    fn share(&self) -> Option<Arc<Local>> {
        let spare = || self.spares.try_borrow_mut().ok()?.pop();
        let another = || self.local.try_borrow().ok()?.clone();
        self.spare.take().or_else(spare).or_else(another)
    }

    fn choose(&self, held: Arc<Local>, key: Option<Key>, attended: bool) -> Option<Pick> {
        if held.table.troubled && !attended {
            drop(self.keep(held));
            return None;
        }
        match held.choose(&self.progress, key) {
            Some(word) => Some(Pick::new(held, word)),
            None => {
                drop(self.keep(held));
                None
            }
        }
    }

    /// Keeps one more share; gives one back when there is no room.
    fn keep(&self, held: Arc<Local>) -> Option<Arc<Local>> {
        self.keep_further(self.spare.replace(Some(held))?)
    }

    fn keep_further(&self, held: Arc<Local>) -> Option<Arc<Local>> {
        match self.spares.try_borrow_mut() {
            Ok(mut spares) if spares.len() < SPARES => {
                spares.push(held);
                None
            }
            _ => Some(held),
        }
    }

    /// Reads `local` from now on, or nothing.
    fn read(&self, version: u64, local: Option<Arc<Local>>) -> Option<Left> {
        let mut place = self.local.try_borrow_mut().ok()?;
        match (&*place, &local) {
            (Some(known), Some(local)) if same_counts(known, local) => local.go_on(known),
            _ => {
                self.progress.restart();
                self.leave(place.as_deref());
            }
        }
        self.version.set(version);
        self.own
            .set(local.as_ref().map_or(ptr::null(), Arc::as_ptr));
        let spares = self.spares.try_borrow_mut().map(|mut spares| {
            let room = if local.is_some() { SPARES } else { 0 };
            std::mem::replace(&mut *spares, Vec::with_capacity(room))
        });
        let before = std::mem::replace(&mut *place, local);
        Some((before, self.spare.take(), spares.unwrap_or_default()))
    }

    fn leave(&self, local: Option<&Local>) {
        if let Some(counts) = local.and_then(|local| local.counts.as_ref()) {
            counts.leave();
        }
    }

    /// Whether its balancer is gone.
    fn is_left(&self) -> bool {
        let local = self.local.try_borrow().ok();
        let gone = |local: &Local| local.shared.strong_count() == 0;
        local.is_some_and(|local| local.as_deref().is_some_and(gone))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Ok(local) = self.local.try_borrow() {
            self.leave(local.as_deref());
        }
    }
}

/// Balancers whose seats are found without a look elsewhere.
const AT_HAND: usize = 8;

/// What picks look at, side by side.
struct Hand {
    seats: ManuallyDrop<[Seat; AT_HAND]>,
    /// The seat of the last quick pick.
    last: Cell<u32>,
    random: Cell<Rng>,
}

/// The other seats. Ends with the thread, and what is at hand with it.
struct Further(Slots<Seat>);

impl Drop for Further {
    fn drop(&mut self) {
        HAND.with(|hand| hand.seats.iter().for_each(|seat| drop(seat.read(0, None))));
    }
}

thread_local! {
    /// Without a destructor of its own: each look would have to ask whether it has run.
    static HAND: Hand = const {
        Hand {
            seats: ManuallyDrop::new([const { Seat::new() }; AT_HAND]),
            last: Cell::new(0),
            random: Cell::new(Rng::with_seed(0)),
        }
    };
    static FURTHER: Further = const { Further(Slots::new()) };
}

/// What `look` finds at the seat of this number, if this thread has one.
fn at<R>(number: u32, look: impl FnOnce(&Seat) -> Option<R>) -> Option<R> {
    match (number as usize).checked_sub(AT_HAND) {
        None => HAND.with(|hand| look(hand.seats.get(number as usize)?)),
        Some(further) => {
            let looked = FURTHER.try_with(|seats| look(seats.0.known(further as u32)?));
            looked.ok().flatten()
        }
    }
}

/// The share at hand of what this thread has read, if that is what was published last.
///
/// It is so little that the compiler puts it where it is used.
#[inline(always)]
pub(crate) fn at_hand(shared: &Shared) -> Option<Arc<Local>> {
    let number = shared.seat.get();
    let version = shared.version.load(Ordering::Acquire);
    HAND.with(|hand| {
        // Of another balancer, if this one's is elsewhere: then the version is another one.
        let seat = hand.seats.get(number as usize % AT_HAND)?;
        if seat.version.get() != version {
            return None;
        }
        hand.last.set(number);
        seat.spare.take()
    })
}

/// The next number below `len` in turn at a seat at hand.
#[inline(always)]
pub(crate) fn turn(number: u32, len: u32) -> Option<u32> {
    let turn = |seat: &Seat| seat.progress.turn(len);
    HAND.with(|hand| hand.seats.get(number as usize % AT_HAND).map(turn))
}

/// A random number of this thread.
#[inline(always)]
pub(crate) fn random() -> u64 {
    HAND.with(|hand| {
        let mut random = hand.random.replace(Rng::with_seed(0));
        let bits = random.u64(..);
        hand.random.set(random);
        bits
    })
}

/// Picks from what this thread has read, if that is `version`; `attended` when the clock and probes
/// were looked at.
#[inline(never)]
pub(crate) fn pick(seat: u32, version: u64, key: Option<Key>, attended: bool) -> Option<Pick> {
    at(seat, |seat| {
        if seat.version.get() != version {
            return None;
        }
        seat.choose(seat.share()?, key, attended)
    })
}

/// Picks from `held`, which was at hand.
#[inline(never)]
pub(crate) fn pick_from(held: Arc<Local>, key: Option<Key>) -> Option<Pick> {
    at(held.seat, |seat| seat.choose(held, key, false))
}

/// Takes back the share of a pick that has ended.
///
/// Tried is the seat of the last pick. The number in the share would say which it is; but the next
/// pick takes the share from there, and would have to wait until it is known where that is.
#[inline(always)]
pub(crate) fn give_back(held: Arc<Local>) {
    let own = Arc::as_ptr(&held);
    let mut held = Some(held);
    HAND.with(|hand| {
        if let Some(seat) = hand.seats.get(hand.last.get() as usize % AT_HAND)
            && seat.own.get() == own
        {
            held = seat.spare.replace(held.take());
        }
    });
    if let Some(held) = held {
        give_further_back(held);
    }
}

/// Takes back a share of another seat, or one more than its seat has at hand.
#[inline(never)]
fn give_further_back(held: Arc<Local>) {
    let _left = at(held.seat, |seat| {
        if seat.own.get() == Arc::as_ptr(&held) {
            seat.keep(held)
        } else {
            Some(held)
        }
    });
}

/// What this thread has read.
pub(crate) enum Read {
    /// Not what was published last.
    Stale,
    /// This.
    Ready(Arc<Local>),
    /// Nothing, and it cannot keep anything: it ends.
    Unseated,
}

/// What this thread has read of the balancer at `seat`.
pub(crate) fn read(seat: u32, version: u64) -> Read {
    if FURTHER.try_with(|_| ()).is_err() {
        return Read::Unseated;
    }
    let found = at(seat, |seat| {
        let is_this = seat.version.get() == version;
        seat.local.try_borrow().ok()?.clone().filter(|_| is_this)
    });
    found.map_or(Read::Stale, Read::Ready)
}

/// Gives this thread `local` to read at its seat.
pub(crate) fn seat(version: u64, local: &Arc<Local>) {
    // Others than other threads have.
    HAND.with(|hand| hand.random.set(Rng::new()));
    let left = |seat: &Seat| seat.is_left().then(|| seat.read(0, None));
    // Balancers that are gone are let go of here, where something is made anyway.
    let _gone = FURTHER.try_with(|further| {
        if let Some(number) = (local.seat as usize).checked_sub(AT_HAND) {
            further.0.made(number as u32);
        }
        let further: Vec<_> = further.0.iter().filter_map(left).collect();
        let at_hand: Vec<_> = HAND.with(|hand| hand.seats.iter().filter_map(left).collect());
        let before = at(local.seat, |seat| {
            seat.read(version, Some(Arc::clone(local)))
        });
        (further, at_hand, before)
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
pub(crate) fn seated_counts(seat: u32, shared: &Weak<Shared>) -> Option<Arc<Counts>> {
    at(seat, |seat| {
        let local = seat.local.try_borrow().ok()?;
        let local = local.as_ref()?;
        if !Weak::ptr_eq(&local.shared, shared) {
            return None;
        }
        local.counts.clone()
    })
}
