//! One service: who is told its nodes and picks among them.

use std::fmt;
use std::sync::Arc;

use waypost_core::{Instance, Members, NodeId, Result, ServiceName};

use crate::clock::Clock;
use crate::next::Next;
use crate::node::Node;
use crate::options::{NoneAvailable, Options};
use crate::pick::{Outcome, Pick, Word};
use crate::rules::Rules;
use crate::shared::{Shared, locked};
use crate::thread;
use crate::writer::Why;

/// Picks among the nodes of one service. Clones share everything.
///
/// [`Balancer::publish`] hands it what the directory knows; [`Balancer::pick`] reads what was
/// arranged then, from memory of its own thread: no lock, no allocation, no I/O, and for strategies
/// that count nothing no shared cache line is written.
#[derive(Clone)]
pub struct Balancer {
    shared: Arc<Shared>,
}

impl Balancer {
    /// A balancer without nodes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the rule that makes no sense.
    pub fn new(service: ServiceName, rules: Rules) -> Result<Self> {
        Self::with_clock(service, rules, quanta::Clock::new())
    }

    pub(crate) fn with_clock(
        service: ServiceName,
        rules: Rules,
        quanta: quanta::Clock,
    ) -> Result<Self> {
        rules.check()?;
        let shared = Shared::new(service, rules, Clock::new(quanta));
        Ok(Self { shared })
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.shared.service
    }

    /// What it goes by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// Takes over what a directory knows.
    pub fn publish(&self, members: &Members) {
        self.publish_nodes(members.live().cloned(), members.fallback().cloned());
    }

    /// Takes over these nodes: the live ones, and those to try when no live one answers. What is
    /// known of a node stays while its id and its address do.
    pub fn publish_nodes(
        &self,
        live: impl IntoIterator<Item = Arc<Instance>>,
        fallback: impl IntoIterator<Item = Arc<Instance>>,
    ) {
        let mut writer = locked(&self.shared.writer);
        writer.replace(live.into_iter(), fallback.into_iter());
        self.shared.rebuild(&mut writer, self.shared.clock.now());
    }

    /// Picks a node.
    ///
    /// # Errors
    /// [`NoneAvailable`] with what stands against each node, in numbers.
    #[inline(always)]
    pub fn pick(&self, options: &Options<'_>) -> Result<Pick, NoneAvailable> {
        let shared = &*self.shared;
        if options.is_plain() {
            let turn = |len| thread::turn(shared.seat.get(), len);
            let pick = match thread::at_hand(shared) {
                Some(held) => match held.choose_quickly(options.key, turn) {
                    Some(index) => return Ok(Pick::new(held, Word::plain(index))),
                    None => thread::pick_from(held, options.key),
                },
                None => shared.pick_at_seat(options.key),
            };
            if let Some(pick) = pick {
                return Ok(pick);
            }
        }
        // A copy: so those that are made for a call need not be in memory for a quick pick.
        shared.pick_slowly(&options.clone())
    }

    /// Picks one node after the other for the attempts of one call: each another one while there are
    /// any.
    #[must_use]
    pub fn select<'a>(&self, options: Options<'a>) -> Next<'a> {
        Next::new(self.clone(), options)
    }

    /// Tells what became of a call to the node of this id; nothing, if there is none.
    pub fn mark(&self, node: &NodeId, outcome: Outcome) {
        let known = locked(&self.shared.writer)
            .find(node)
            .map(|one| Arc::clone(&one.node));
        if let Some(node) = known {
            let answered = outcome.is_success() && node.health.succeeded();
            if answered || !outcome.is_quiet() {
                let now = self.shared.clock.now();
                self.shared.note(&node, outcome, false, now);
            }
        }
    }

    /// Tells that a connection to the node could be made, so that it may be called again.
    pub fn reachable(&self, node: &Node) {
        let now = self.shared.clock.now();
        let shared = &self.shared;
        let mut writer = locked(&shared.writer);
        let news = writer.member_at(node.place).is_some_and(|member| {
            let unreachable = |out: &crate::writer::Out| out.why == Why::Unreachable;
            member.out.as_ref().is_some_and(unreachable) && member.take_back(now)
        });
        if news {
            shared.rebuild(&mut writer, now);
        }
    }

    /// Tells that no connection to the node can be made.
    pub fn unreachable(&self, node: &Node) {
        let now = self.shared.clock.now();
        self.shared.put_out(node.place, Why::Unreachable, 0, now);
    }

    /// Forgets everything that was said against nodes.
    pub fn reset(&self) {
        let now = self.shared.clock.now();
        let mut writer = locked(&self.shared.writer);
        let writer = &mut *writer;
        for member in writer.members.iter_mut().chain(&mut writer.fallback) {
            member.take_back(0);
            member.node.health.forget();
        }
        self.shared.rebuild(writer, now);
    }

    /// What would be picked from, and why not from the others.
    #[must_use]
    pub fn explain(&self) -> crate::Explanation {
        let writer = locked(&self.shared.writer);
        let local = self.shared.local();
        crate::explain::explain(&self.shared, &writer, &local)
    }

    /// How many nodes are out for what they answered, for a metric.
    #[must_use]
    pub fn ejected(&self) -> usize {
        let writer = locked(&self.shared.writer);
        writer.members.iter().filter(|one| one.fails()).count()
    }

    /// The nodes as they are known now, those that are out included.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let writer = locked(&self.shared.writer);
        let all = writer.members.iter().chain(&writer.fallback);
        all.map(|member| Arc::clone(&member.node)).collect()
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("service", &self.shared.service)
            .field("rules", &self.shared.rules)
            .finish_non_exhaustive()
    }
}
