//! What all threads share of one service: who writes its table, and what is shown of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use waypost_core::ServiceName;

use crate::builder::Builder;
use crate::clock::Clock;
use crate::counts::{Cell, Counts};
use crate::local::{Local, cursors};
use crate::node::{Node, Place};
use crate::options::{NoneAvailable, Options};
use crate::pick::{Kind, LONGEST_REST, Outcome, Pick};
use crate::rules::Rules;
use crate::seat::{self, SeatNumber};
use crate::strategy::Key;
use crate::suspects::Suspects;
use crate::table::Table;
use crate::thread::{self, Read};
use crate::writer::{Why, Writer};

pub(crate) struct Shared {
    pub(crate) service: ServiceName,
    pub(crate) rules: Rules,
    pub(crate) seat: SeatNumber,
    /// Of what is shown.
    pub(crate) version: AtomicU64,
    table: Mutex<Arc<Table>>,
    /// Locked inside of `table`, where both are.
    threads: Mutex<Vec<Arc<Counts>>>,
    pub(crate) writer: Mutex<Writer>,
    suspects: Arc<Suspects>,
    pub(crate) clock: Clock,
    myself: Weak<Shared>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(service: ServiceName, rules: Rules, clock: Clock) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            service,
            rules,
            seat: SeatNumber::take(),
            version: AtomicU64::new(seat::next_version()),
            table: Mutex::default(),
            threads: Mutex::default(),
            writer: Mutex::default(),
            suspects: Arc::default(),
            clock,
            myself: myself.clone(),
        })
    }

    pub(crate) fn rebuild(&self, writer: &mut Writer, now: u64) {
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
        self.version.store(seat::next_version(), Ordering::Release);
        old
    }

    /// What a thread reads from now on, and of which version it is.
    fn fresh(&self) -> (u64, Arc<Local>) {
        let seat = self.seat.get();
        let counts = self.rules.counts().then(|| {
            thread::seated_counts(seat, &self.myself).unwrap_or_else(|| self.new_thread())
        });
        // Whatever changes what is read moves the version under this lock: so the version is of
        // what is read here, the peers included.
        let shown = locked(&self.table);
        let peers = if counts.is_some() {
            locked(&self.threads).clone().into()
        } else {
            Box::default()
        };
        let local = Local {
            table: Arc::clone(&shown),
            entries: Arc::clone(&shown.entries),
            sets: Arc::clone(&shown.sets),
            cursors: cursors(shown.sets.len()),
            quick: shown.quick(counts.is_some()),
            counts,
            peers,
            suspects: Arc::clone(&self.suspects),
            clock: self.clock.clone(),
            shared: self.myself.clone(),
            seat,
        };
        (self.version.load(Ordering::Acquire), Arc::new(local))
    }

    /// A thread begins to count; the others are to look at its counts too.
    fn new_thread(&self) -> Arc<Counts> {
        let counts = Counts::new();
        let _shown = locked(&self.table);
        let mut threads = locked(&self.threads);
        threads.retain(|one| one.is_seated());
        threads.push(Arc::clone(&counts));
        self.version.store(seat::next_version(), Ordering::Release);
        counts
    }

    pub(crate) fn local(&self) -> Arc<Local> {
        let (version, local) = self.fresh();
        thread::seat(version, &local);
        local
    }

    /// Picks from what this thread has read, wherever a share of it is.
    #[inline(never)]
    pub(crate) fn pick_at_seat(&self, key: Option<Key>) -> Option<Pick> {
        let version = self.version.load(Ordering::Acquire);
        thread::pick(self.seat.get(), version, key, false)
    }

    #[cold]
    pub(crate) fn pick_slowly(&self, options: &Options<'_>) -> Result<Pick, NoneAvailable> {
        let mut attended = false;
        // Twice stale and once troubled at most, unless somebody publishes all the while.
        for _ in 0..8 {
            let version = self.version.load(Ordering::Acquire);
            let local = match thread::read(self.seat.get(), version) {
                Read::Ready(local) => local,
                Read::Stale => {
                    self.local();
                    continue;
                }
                Read::Unseated => break,
            };
            if local.table.troubled && !attended {
                attended = true;
                if let Some(pick) = self.attend(&local, options) {
                    return Ok(pick);
                }
                continue;
            }
            if options.is_plain() {
                let seat = self.seat.get();
                if let Some(pick) = thread::pick(seat, version, options.key, true) {
                    return Ok(pick);
                }
            }
            return options.choose(self, &local);
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
                self.suspects.add(node.place);
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

    pub(crate) fn put_out(&self, place: Place, why: Why, pause: u64, now: u64) {
        let mut writer = locked(&self.writer);
        let Some(member) = writer.member_at(place) else {
            return;
        };
        if !member.put_out(why, now, pause, &self.rules.ejection) {
            return;
        }
        self.suspects.add(place);
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
