//! The one who writes: who is a member, who is out and until when.

use std::collections::HashMap;
use std::sync::Arc;

use waypost_core::{Instance, NodeId};

use crate::node::{Node, Place};
use crate::rules::Ejection;

/// How long a node that could not be reached is left alone the first time; twice as long each
/// further time, up to the ejection's base.
const UNREACHED: u64 = 1_000_000_000;

/// Why a node is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It failed too often.
    Failing,
    /// No connection could be made.
    Unreachable,
    /// It asked to be left alone.
    Resting,
}

#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) why: Why,
    pub(crate) until: u64,
}

/// A node of the service and what speaks against it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    pub(crate) out: Option<Out>,
    /// How many times in a row it was put out.
    times: u32,
    back: u64,
}

impl Member {
    /// Whether it is out by what it answered: what the limit of ejections counts.
    pub(crate) fn fails(&self) -> bool {
        let why = self.out.as_ref().map(|out| out.why);
        matches!(why, Some(Why::Failing | Why::Resting))
    }

    pub(crate) fn is_usable(&self, panic: bool) -> bool {
        self.out.is_none() || (panic && self.fails())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) members: Vec<Member>,
    pub(crate) fallback: Vec<Member>,
    free: Vec<u32>,
    slots: u32,
    epochs: u32,
}

impl Writer {
    /// Replaces the members. A node that stays at its address keeps what is known of it.
    pub(crate) fn replace(
        &mut self,
        live: impl Iterator<Item = Arc<Instance>>,
        fallback: impl Iterator<Item = Arc<Instance>>,
    ) {
        let old = std::mem::take(&mut self.members);
        let mut before: Vec<Option<Member>> = old.into_iter().map(Some).collect();
        // Most stand where they stood.
        let placed: Vec<(Arc<Instance>, Option<Member>)> = live
            .enumerate()
            .map(|(index, instance)| {
                let there = before.get_mut(index);
                let same = there.and_then(|member| member.take_if(|one| one.is_at(&instance)));
                (instance, same)
            })
            .collect();
        let mut left: HashMap<NodeId, Member> = before
            .into_iter()
            .flatten()
            .chain(std::mem::take(&mut self.fallback))
            .map(|member| (member.node.id().clone(), member))
            .collect();
        self.members = placed
            .into_iter()
            .map(|(instance, same)| match same {
                Some(member) => member.with(instance),
                None => self.member(instance, &mut left),
            })
            .collect();
        self.fallback = fallback
            .map(|instance| self.member(instance, &mut left))
            .collect();
        self.free
            .extend(left.into_values().map(|member| member.node.place.slot));
    }

    fn member(&mut self, instance: Arc<Instance>, left: &mut HashMap<NodeId, Member>) -> Member {
        if let Some(known) = left.remove(&instance.node.id) {
            if known.is_at(&instance) {
                return known.with(instance);
            }
            self.free.push(known.node.place.slot);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.epochs = self.epochs.wrapping_add(1).max(1);
        let epoch = self.epochs;
        Member {
            node: Arc::new(Node::new(instance, Place { slot, epoch })),
            out: None,
            times: 0,
            back: 0,
        }
    }

    pub(crate) fn member_at(&mut self, place: Place) -> Option<&mut Member> {
        let mut all = self.members.iter_mut().chain(&mut self.fallback);
        all.find(|member| member.node.place == place)
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<&Member> {
        let mut all = self.members.iter().chain(&self.fallback);
        all.find(|member| member.node.id() == id)
    }

    /// Those whose rest is over are as good as the others.
    pub(crate) fn wake(&mut self, now: u64) {
        for member in self.members.iter_mut().chain(&mut self.fallback) {
            let rested = |out: &mut Out| out.why == Why::Resting && out.until <= now;
            if member.out.take_if(rested).is_some() {
                member.node.health.set_out(false);
            }
        }
    }
}

impl Member {
    /// Whether this record is of the same node at the same address.
    fn is_at(&self, instance: &Arc<Instance>) -> bool {
        let known = &self.node.instance;
        Arc::ptr_eq(known, instance)
            || (known.node.id == instance.node.id && known.node.address == instance.node.address)
    }

    /// With the record that it has now: also with one that says the same, for the next comparison
    /// sees then that it is the same.
    fn with(mut self, instance: Arc<Instance>) -> Self {
        if !Arc::ptr_eq(&self.node.instance, &instance) {
            self.node = Arc::new(self.node.renewed(instance));
        }
        self
    }

    /// Puts the node out at `now`; `pause` is what it asked for. Tells whether that is news.
    pub(crate) fn put_out(&mut self, why: Why, now: u64, pause: u64, rule: &Ejection) -> bool {
        let base = rule.base.as_nanos() as u64;
        if why == Why::Resting && self.rests_already(now.saturating_add(pause), pause) {
            return false;
        }
        if let Some(out) = &self.out
            && out.until > now
            && out.why == why
            && why != Why::Resting
        {
            return false;
        }
        let length = match why {
            Why::Resting => pause,
            Why::Failing => {
                // Each quiet period of the base's length takes one step back.
                let quiet = match &self.out {
                    Some(_) => 0,
                    None => now.saturating_sub(self.back) / base,
                };
                self.times = (self.times.saturating_sub(quiet as u32) + 1).min(10);
                base * u64::from(self.times)
            }
            Why::Unreachable => {
                let again = self.out.is_some();
                self.times = if again { (self.times + 1).min(10) } else { 1 };
                (UNREACHED << (self.times - 1)).min(base.max(UNREACHED))
            }
        };
        let jitter = if why == Why::Resting {
            0
        } else {
            fastrand::u64(0..=length / 10)
        };
        self.out = Some(Out {
            why,
            until: now.saturating_add(length).saturating_add(jitter),
        });
        self.node.health.set_out(true);
        if why != Why::Resting {
            self.node.health.forget();
        }
        true
    }

    /// Whether what the node asks for changes nothing: it is out for a graver reason, which its wish
    /// must not undo, or it asked for about the same before, as each of the calls under way does.
    fn rests_already(&self, until: u64, pause: u64) -> bool {
        match &self.out {
            Some(out) if out.why == Why::Resting => until <= out.until.saturating_add(pause / 8),
            Some(_) => true,
            None => false,
        }
    }

    /// Takes the node back; tells whether it was out.
    pub(crate) fn take_back(&mut self, now: u64) -> bool {
        self.node.health.set_out(false);
        self.back = now;
        self.out.take().is_some()
    }
}
