//! The writer's side of a directory entry: applies events and guards against mass departures.
//! Pure: time is handed in.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Change, Instance, InstanceKey};

use super::members::{Indexed, Members};

/// The set of one scope, with what left of late.
#[derive(Debug)]
pub(super) struct Roster {
    window: Duration,
    live: Indexed,
    departed: Indexed,
    /// Who left when, oldest first. A key may stand here twice; its latest departure counts.
    departures: VecDeque<(Instant, InstanceKey)>,
    left_at: HashMap<InstanceKey, Instant>,
    /// Moments and sizes, sizes falling: the front is the window's peak.
    peaks: VecDeque<(Instant, usize)>,
    guarding: bool,
    version: u64,
}

impl Roster {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            live: Indexed::default(),
            departed: Indexed::default(),
            departures: VecDeque::new(),
            left_at: HashMap::new(),
            peaks: VecDeque::new(),
            guarding: false,
            version: 0,
        }
    }

    /// Takes `all` as the whole truth; returns how many instances that changed.
    pub(super) fn replace(&mut self, all: Vec<Arc<Instance>>, now: Instant) -> usize {
        let mut fresh: HashSet<InstanceKey> = HashSet::with_capacity(all.len());
        let mut changed = 0;
        for instance in all {
            fresh.insert(instance.key());
            changed += usize::from(self.upsert(instance));
        }
        if fresh.len() < self.live.len() {
            let gone: Vec<InstanceKey> = self
                .live
                .keys()
                .filter(|key| !fresh.contains(*key))
                .cloned()
                .collect();
            for key in gone {
                changed += usize::from(self.remove(&key, now));
            }
        }
        self.settle(now);
        changed
    }

    /// Applies a batch; tells whether anything is different now.
    pub(super) fn apply(&mut self, changes: Vec<Change>, now: Instant) -> bool {
        let mut changed = false;
        for change in changes {
            changed |= match change {
                Change::Upsert(instance) => self.upsert(instance),
                Change::Remove(key) => self.remove(&key, now),
            };
        }
        self.settle(now);
        changed
    }

    /// Whether what is live is exactly this.
    pub(super) fn is(&self, all: &HashMap<InstanceKey, Arc<Instance>>) -> bool {
        let is_here = |(key, one): (&InstanceKey, &Arc<Instance>)| self.live.get(key) == Some(one);
        all.len() == self.live.len() && all.iter().all(is_here)
    }

    fn upsert(&mut self, instance: Arc<Instance>) -> bool {
        if self.departed.len() > 0 {
            let key = instance.key();
            self.departed.remove(&key);
            self.left_at.remove(&key);
        }
        self.live.upsert(instance)
    }

    fn remove(&mut self, key: &InstanceKey, now: Instant) -> bool {
        // The peak must know the set as it was before it shrinks.
        self.note_peak(now);
        let Some(gone) = self.live.remove(key) else {
            return false;
        };
        self.departed.upsert(gone);
        self.left_at.insert(key.clone(), now);
        self.departures.push_back((now, key.clone()));
        true
    }

    /// Forgets what left the window; tells whether what readers see is different now.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let (guarded, kept) = (self.guarding, self.departed.len());
        self.settle(now);
        guarded && (!self.guarding || self.departed.len() != kept)
    }

    /// When [`Roster::tick`] is worth calling next.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let (at, _) = self.departures.front()?;
        self.guarding.then(|| *at + self.window)
    }

    fn settle(&mut self, now: Instant) {
        self.note_peak(now);
        while let Some((at, _)) = self.departures.front()
            && *at + self.window <= now
        {
            let Some((at, key)) = self.departures.pop_front() else {
                break;
            };
            if self.left_at.get(&key) == Some(&at) {
                self.left_at.remove(&key);
                self.departed.remove(&key);
            }
        }
        let peak = self.peaks.front().map_or(0, |(_, size)| *size);
        self.guarding = self.departed.len() > 0 && self.live.len() * 2 < peak;
    }

    fn note_peak(&mut self, now: Instant) {
        let size = self.live.len();
        while self.peaks.back().is_some_and(|(_, last)| *last <= size) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now, size));
        // A size held until the next one was noted: it counts from the moment it ended.
        while self.peaks.len() > 1
            && self
                .peaks
                .get(1)
                .is_some_and(|(at, _)| *at + self.window <= now)
        {
            self.peaks.pop_front();
        }
    }

    /// What readers shall see.
    pub(super) fn publish(&mut self) -> Members {
        self.version += 1;
        let fallback = if self.guarding {
            self.departed.table()
        } else {
            Default::default()
        };
        Members::new(self.live.table(), fallback, self.version)
    }

    pub(super) fn guarding(&self) -> bool {
        self.guarding
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Takes what a disk snapshot remembers, as if it had been live and had not left.
    pub(super) fn restore(&mut self, all: Vec<Instance>, now: Instant) {
        self.live.clear();
        self.replace(all.into_iter().map(Arc::new).collect(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::instance;

    const WINDOW: Duration = Duration::from_secs(60);

    fn full(count: usize, now: Instant) -> Roster {
        let mut roster = Roster::new(WINDOW);
        let all = (0..count).map(|n| Arc::new(instance("s", &format!("n{n}"))));
        roster.replace(all.collect(), now);
        roster
    }

    fn leave(roster: &mut Roster, range: std::ops::Range<usize>, now: Instant) {
        for n in range {
            let key = instance("s", &format!("n{n}")).key();
            roster.apply(vec![Change::Remove(key)], now);
        }
    }

    fn sizes(roster: &mut Roster) -> (usize, usize) {
        let members = roster.publish();
        (members.live().count(), members.fallback().count())
    }

    #[tokio::test(start_paused = true)]
    async fn a_scale_down_by_half_keeps_nobody() {
        let now = Instant::now();
        let mut roster = full(10, now);
        leave(&mut roster, 0..5, now);
        assert_eq!(sizes(&mut roster), (5, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mass_departure_one_at_a_time_keeps_those_who_left_within_the_minute() {
        let mut now = Instant::now();
        let mut roster = full(10, now);
        for n in 0..10 {
            now += Duration::from_secs(2);
            leave(&mut roster, n..n + 1, now);
            assert!(!roster.publish().is_empty(), "after {n}");
        }
        assert_eq!(sizes(&mut roster), (0, 10));
        assert!(roster.guarding());
        let tick = roster.next_tick().expect("guarding");
        assert!(
            roster.tick(tick),
            "the first one to leave is forgotten first"
        );
        assert_eq!(sizes(&mut roster), (0, 9));
        assert!(roster.tick(now + WINDOW));
        assert_eq!(sizes(&mut roster), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_returns_leaves_the_fallback() {
        let now = Instant::now();
        let mut roster = full(10, now);
        roster.replace(Vec::new(), now);
        assert_eq!(sizes(&mut roster), (0, 10));
        for n in 0..4 {
            let back = Arc::new(instance("s", &format!("n{n}")));
            roster.apply(vec![Change::Upsert(back)], now);
        }
        assert_eq!(sizes(&mut roster), (4, 6));
        let back = Arc::new(instance("s", "n4"));
        roster.apply(vec![Change::Upsert(back)], now);
        assert_eq!(
            sizes(&mut roster),
            (5, 0),
            "half are back: nothing to guard"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_that_was_full_for_long_is_guarded_all_the_same() {
        let now = Instant::now();
        let mut roster = full(10, now);
        let later = now + Duration::from_secs(3600);
        roster.replace(Vec::new(), later);
        assert_eq!(sizes(&mut roster), (0, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unchanged_snapshot_changes_nothing() {
        let now = Instant::now();
        let mut roster = full(10, now);
        let all = (0..10).map(|n| Arc::new(instance("s", &format!("n{n}"))));
        assert_eq!(roster.replace(all.collect(), now), 0);
    }
}
