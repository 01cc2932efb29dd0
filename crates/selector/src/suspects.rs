//! Which nodes a success means something for.
//!
//! Nearly all calls succeed at nodes that nothing speaks against, and then nothing is to be noted.
//! That is seen here, in four bytes a node that everybody reads and hardly anybody writes; the node
//! itself and its [`Health`] would be two more lines of memory a call.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::node::{Health, Place};
use crate::slots::Slots;

/// The epoch of the node at a slot whose health has something to say; 0 where none has.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Slots<AtomicU32>);

impl Suspects {
    /// To be called after the node's health was changed for the worse.
    pub(crate) fn add(&self, place: Place) {
        if let Some(mark) = self.0.made(place.slot) {
            // A call to the slot's former node must not hide that there is something with this one.
            mark.fetch_max(place.epoch, Ordering::AcqRel);
        }
    }

    /// Whether a success at `place` may mean something.
    #[inline]
    pub(crate) fn has(&self, place: Place) -> bool {
        match self.0.known(place.slot) {
            // Another node's mark says nothing of this one.
            Some(mark) => mark.load(Ordering::Relaxed) != 0,
            None => false,
        }
    }

    /// Takes the node off when nothing speaks against it any more.
    #[cold]
    pub(crate) fn review(&self, place: Place, health: &Health) {
        let Some(mark) = self.0.known(place.slot) else {
            return;
        };
        if !health.is_clear() {
            return;
        }
        let own = |seen: u32| (seen <= place.epoch).then_some(0);
        let taken_off = mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, own);
        // Who failed since then set the mark before it was taken off: it is set again.
        if taken_off.is_ok() && !health.is_clear() {
            self.add(place);
        }
    }
}
