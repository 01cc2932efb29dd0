//! One service: who writes its table and who picks from it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use waypost_core::{Instance, Members, NodeId, Result, ServiceName};

use crate::clock::Clock;
use crate::counts::{Cell, Counts};
use crate::node::{Node, Place};
use crate::options::{NoneAvailable, Options};
use crate::pick::{Kind, LONGEST_REST, Outcome, Pick};
use crate::rules::Rules;
use crate::table::{Builder, Table};
use crate::thread::{self, Local, Quick, SeatNumber};
use crate::writer::{Why, Writer};

/// Picks among the nodes of one service. Clones share everything.
///
/// [`Balancer::publish`] hands it what the directory knows; [`Balancer::pick`] reads what was
/// arranged then, from memory of its own thread: no lock, no allocation, no I/O, and for strategies
/// that count nothing no shared cache line is written.
#[derive(Clone)]
pub struct Balancer {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) service: ServiceName,
    pub(crate) rules: Rules,
    seat: SeatNumber,
    version: AtomicU64,
    table: Mutex<Arc<Table>>,
    threads: Mutex<Vec<Arc<Counts>>>,
    writer: Mutex<Writer>,
    pub(crate) clock: Clock,
    myself: Weak<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let shared = Arc::new_cyclic(|myself| Shared {
            service,
            rules,
            seat: SeatNumber::take(),
            version: AtomicU64::new(thread::next_version()),
            table: Mutex::default(),
            threads: Mutex::default(),
            writer: Mutex::default(),
            clock: Clock::new(quanta),
            myself: myself.clone(),
        });
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
    #[inline]
    pub fn pick(&self, options: &Options<'_>) -> Result<Pick, NoneAvailable> {
        let shared = &*self.shared;
        if options.is_plain() {
            let version = shared.version.load(Ordering::Acquire);
            let seat = shared.seat.get();
            let strategy = &shared.rules.strategy;
            if let Quick::Picked(pick) = thread::quick(seat, version, strategy, options.key, false)
            {
                return Ok(pick);
            }
        }
        shared.pick_slowly(options)
    }

    /// Picks one node after the other for the attempts of one call: each another one while there are
    /// any.
    #[must_use]
    pub fn select<'a>(&self, options: Options<'a>) -> Next<'a> {
        Next {
            balancer: self.clone(),
            options,
            tried: Tried::default(),
        }
    }

    /// Tells what became of a call to the node of this id; nothing, if there is none.
    pub fn mark(&self, node: &NodeId, outcome: Outcome) {
        let known = locked(&self.shared.writer)
            .find(node)
            .map(|one| Arc::clone(&one.node));
        if let Some(node) = known {
            let answered = outcome.is_success() && node.health.succeeded();
            if answered || !outcome.is_quiet() {
                self.shared
                    .note(&node, outcome, false, self.shared.clock.now());
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

    /// The nodes as they are known now, those that are out included.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        let writer = locked(&self.shared.writer);
        let all = writer.members.iter().chain(&writer.fallback);
        all.map(|member| Arc::clone(&member.node)).collect()
    }
}

impl Shared {
    fn rebuild(&self, writer: &mut Writer, now: u64) {
        writer.wake(now);
        let threads = self.rules.counts().then(|| locked(&self.threads).clone());
        let latency = |place: Place| {
            let known = threads.iter().flatten().filter_map(|one| one.known(place));
            let measured = known.map(Cell::latency).filter(|one| *one > 0.0);
            measured.reduce(f32::min)
        };
        let former = Arc::clone(&locked(&self.table));
        let builder = Builder {
            rules: &self.rules,
            now,
            latency: &latency,
            former: &former,
        };
        let table = Arc::new(builder.build(&writer.members, &writer.fallback));
        let panic = table.panic;
        self.show(table);
        if former.panic != panic {
            self.tell_panic(&former);
        }
    }

    #[cold]
    fn tell_panic(&self, old: &Table) {
        let service = &self.service;
        if old.panic {
            tracing::info!(%service, "few enough nodes fail: ejections count again");
        } else {
            tracing::warn!(%service, nodes = old.live, "too many nodes fail for ejecting them: all are called");
        }
    }

    fn show(&self, table: Arc<Table>) -> Arc<Table> {
        let mut shown = locked(&self.table);
        let old = std::mem::replace(&mut *shown, table);
        self.version
            .store(thread::next_version(), Ordering::Release);
        old
    }

    /// What a thread reads from now on, and of which version it is.
    fn fresh(&self) -> (u64, Arc<Local>) {
        let seat = self.seat.get();
        let counts = self.rules.counts().then(|| {
            thread::seated_counts(seat, &self.myself).unwrap_or_else(|| self.new_thread())
        });
        let peers = if counts.is_some() {
            locked(&self.threads).clone().into()
        } else {
            Box::default()
        };
        let shown = locked(&self.table);
        let local = Local {
            table: Arc::clone(&shown),
            counts,
            peers,
            clock: self.clock.clone(),
            shared: self.myself.clone(),
        };
        (self.version.load(Ordering::Acquire), Arc::new(local))
    }

    /// A thread begins to count; the others are to look at its counts too.
    fn new_thread(&self) -> Arc<Counts> {
        let counts = Counts::new();
        let mut threads = locked(&self.threads);
        threads.retain(|one| one.is_seated());
        threads.push(Arc::clone(&counts));
        drop(threads);
        // The version moves under the table's lock, like everywhere.
        let _shown = locked(&self.table);
        self.version
            .store(thread::next_version(), Ordering::Release);
        counts
    }

    fn local(&self) -> Arc<Local> {
        let (version, local) = self.fresh();
        thread::seat(self.seat.get(), version, &local);
        local
    }

    #[cold]
    fn pick_slowly(&self, options: &Options<'_>) -> Result<Pick, NoneAvailable> {
        let mut attended = false;
        // Twice stale and once troubled at most, unless somebody publishes all the while.
        for _ in 0..8 {
            let version = self.version.load(Ordering::Acquire);
            let strategy = &self.rules.strategy;
            let quick = if options.is_plain() {
                thread::quick(self.seat.get(), version, strategy, options.key, attended)
            } else {
                thread::read(self.seat.get(), version, attended)
            };
            match quick {
                Quick::Picked(pick) => return Ok(pick),
                Quick::Stale => {
                    self.local();
                }
                Quick::Troubled(local) => {
                    attended = true;
                    if let Some(pick) = self.attend(&local, options) {
                        return Ok(pick);
                    }
                }
                Quick::Slow(local) => return options.choose(self, &local),
                Quick::Unseated => break,
            }
        }
        options.choose(self, &self.fresh().1)
    }

    /// Looks at the clock, and at the nodes that one call may try.
    fn attend(&self, local: &Arc<Local>, options: &Options<'_>) -> Option<Pick> {
        let table = &local.table;
        let now = self.clock.now();
        if now >= table.wake
            && let Ok(mut writer) = self.writer.try_lock()
        {
            self.rebuild(&mut writer, now);
        }
        if !options.may_probe {
            return None;
        }
        let first = table.entries.len() + table.fallback.len();
        table.probes.iter().enumerate().find_map(|(index, entry)| {
            let admitted = options.admits(entry) && entry.node.health.claim_probe();
            admitted.then(|| options.begin(local, (first + index) as u32).probing())
        })
    }

    /// What a call said about a node, where that may change the table.
    #[cold]
    pub(crate) fn note(&self, node: &Node, outcome: Outcome, probe: bool, now: u64) {
        match outcome.kind {
            Kind::Success => self.take_back(node.place, probe, now),
            Kind::Unreachable => self.put_out(node.place, Why::Unreachable, 0, now),
            Kind::Failure => {
                let results = node.health.failed();
                if probe || self.rules.ejection.hits(results) {
                    self.put_out(node.place, Why::Failing, 0, now);
                }
            }
            Kind::Ignored => {}
        }
        if let Some(pause) = outcome.retry_after {
            let pause = pause.min(LONGEST_REST).as_nanos() as u64;
            self.put_out(node.place, Why::Resting, pause, now);
        }
    }

    fn put_out(&self, place: Place, why: Why, pause: u64, now: u64) {
        let mut writer = locked(&self.writer);
        let Some(member) = writer.member_at(place) else {
            return;
        };
        if !member.put_out(why, now, pause, &self.rules.ejection) {
            return;
        }
        let (service, node) = (&self.service, member.node.id());
        let until = member.out.as_ref().map_or(0, |out| out.until);
        let seconds = until.saturating_sub(now) / 1_000_000_000;
        match why {
            Why::Failing => tracing::warn!(%service, %node, seconds, "the node fails; left out"),
            Why::Unreachable => {
                tracing::info!(%service, %node, seconds, "the node cannot be reached; left out");
            }
            Why::Resting => {
                tracing::debug!(%service, %node, seconds, "the node asked to be left alone");
            }
        }
        self.rebuild(&mut writer, now);
    }

    /// A node answered. One that was ejected returns by its probe alone: an answer to a call from
    /// before says nothing new.
    fn take_back(&self, place: Place, probe: bool, now: u64) {
        let mut writer = locked(&self.writer);
        let panic = locked(&self.table).panic;
        let Some(member) = writer.member_at(place) else {
            return;
        };
        let returns = match member.out.as_ref().map(|out| out.why) {
            Some(Why::Failing) => probe || panic,
            Some(Why::Unreachable) => true,
            Some(Why::Resting) | None => false,
        };
        if returns && member.take_back(now) {
            tracing::info!(service = %self.service, node = %member.node.id(), "the node answers again");
            self.rebuild(&mut writer, now);
        }
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// The slots of nodes that a call has tried.
pub(crate) type Tried = smallvec::SmallVec<[Place; 6]>;

/// The nodes for the attempts of one call, one after the other (go-micro's `Next`).
#[derive(Debug)]
pub struct Next<'a> {
    balancer: Balancer,
    options: Options<'a>,
    tried: Tried,
}

impl Next<'_> {
    /// Picks the next node: one that was not picked here before, while there is one.
    ///
    /// # Errors
    /// As [`Balancer::pick`].
    #[expect(
        clippy::should_implement_trait,
        reason = "go-micro's name; it does not end"
    )]
    pub fn next(&mut self) -> Result<Pick, NoneAvailable> {
        let picked = self.pick();
        if let Ok(pick) = &picked {
            self.tried.push(pick.node().place);
        }
        picked
    }

    fn pick(&self) -> Result<Pick, NoneAvailable> {
        if self.tried.is_empty() {
            return self.balancer.pick(&self.options);
        }
        let mut options = self.options.clone();
        options.avoid = &self.tried;
        options.may_probe = false;
        self.balancer.pick(&options)
    }

    /// Whether the node of this pick was tried before it: none else was left.
    #[must_use]
    pub fn is_repeat(&self, pick: &Pick) -> bool {
        let place = pick.node().place;
        self.tried.iter().filter(|tried| **tried == place).count() > 1
    }
}
