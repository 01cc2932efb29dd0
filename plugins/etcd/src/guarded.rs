//! Which keys of ours are guarded, and what their guard has yet to do.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::claim::Claim;
use crate::layout::Range;

/// The books of the guard: no I/O, no locks.
///
/// A service of which this process keeps one record costs a watch of that one key, so that a fleet
/// of processes does not tell each of its members of all the others. With several records it costs
/// a watch of all the service's keys, asked for when no write is under way: what happened before is
/// then read at once, keys only, instead of being told write by write.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    keys: BTreeMap<String, Own>,
    /// By what the keys of the service begin with.
    services: HashMap<String, Service>,
    /// Services that are to be watched, or looked at first.
    wanted: VecDeque<String>,
    /// Services that wait for their writes.
    late: BTreeSet<String>,
    /// Watches that are to end.
    unwanted: Vec<i64>,
}

/// One key, and who in this process holds it.
#[derive(Debug, Default)]
struct Own {
    claims: Vec<Arc<Claim>>,
    /// The latest revision at which the key changed, and the lease it belongs to since. A write
    /// that is under way may turn out to be older.
    latest: (i64, i64),
}

#[derive(Debug)]
struct Service {
    keys: usize,
    claims: usize,
    /// Of the claims, how many are being written.
    writing: usize,
    /// From where to watch: no write of ours is older.
    since: i64,
    /// What is watched, or asked to be.
    span: Option<Span>,
    /// Changes may have been missed.
    unsure: bool,
    watch: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Key,
    Service,
}

/// What the guard has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// End this watch.
    End(i64),
    /// Find out who owns the keys of the claims.
    Look(Ask, Vec<Arc<Claim>>),
    /// Watch a service, or one key of it.
    Watch(Ask),
}

/// What to look at, or to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) service: String,
    /// The one key, unless it is all of the service.
    pub(crate) key: Option<String>,
    pub(crate) since: i64,
}

impl Ask {
    pub(crate) fn range(&self) -> Range {
        match &self.key {
            Some(key) => Range::key(key.clone()),
            None => Range::under(self.service.clone()),
        }
    }
}

impl Guarded {
    /// A record of `service` is about to be written, at a revision after `now`.
    pub(crate) fn enter(&mut self, service: &str, claim: &Arc<Claim>, now: i64) {
        if !self.services.contains_key(service) {
            self.services
                .insert(service.to_owned(), Service::new(now + 1));
        }
        let own = self.keys.entry(claim.key.clone()).or_default();
        if let Some(of) = self.services.get_mut(service) {
            of.keys += usize::from(own.claims.is_empty());
            of.claims += 1;
            of.writing += 1;
            of.since = of.since.min(now + 1);
        }
        own.claims.push(Arc::clone(claim));
    }

    /// The record was written at `revision`. Tells whether that makes work.
    pub(crate) fn written(&mut self, service: &str, claim: &Claim, revision: i64) -> bool {
        claim.written(revision);
        if let Some(own) = self.keys.get(&claim.key) {
            // The news of a change may come before the answer to the write.
            claim.seen(own.latest.0, own.latest.1);
        }
        if let Some(of) = self.services.get_mut(service) {
            of.writing = of.writing.saturating_sub(1);
        }
        self.want(service, false)
    }

    /// The record is no longer ours to guard. Tells whether that makes work.
    pub(crate) fn leave(&mut self, service: &str, claim: &Arc<Claim>) -> bool {
        let Some(of) = self.services.get_mut(service) else {
            return false;
        };
        if let Some(own) = self.keys.get_mut(&claim.key) {
            own.claims.retain(|held| !Arc::ptr_eq(held, claim));
            if own.claims.is_empty() {
                self.keys.remove(&claim.key);
                of.keys = of.keys.saturating_sub(1);
            }
        }
        of.claims = of.claims.saturating_sub(1);
        if !claim.is_written() {
            of.writing = of.writing.saturating_sub(1);
        }
        if of.claims > 0 {
            return self.want(service, false);
        }
        let watch = of.watch;
        self.services.remove(service);
        self.unwanted.extend(watch);
        watch.is_some()
    }

    /// Has `service` watched as far as it needs, unless it is, or, without `force`, writes are under
    /// way that would all be told. Tells whether that makes work.
    fn want(&mut self, service: &str, force: bool) -> bool {
        let Some(of) = self.services.get_mut(service) else {
            return false;
        };
        let needed = if of.keys > 1 {
            Span::Service
        } else {
            Span::Key
        };
        let written = of.claims > of.writing;
        if !written || of.span == Some(Span::Service) || of.span == Some(needed) {
            return false;
        }
        if needed == Span::Service && of.writing > 0 && !force {
            self.late.insert(service.to_owned());
            return false;
        }
        of.unsure = needed == Span::Service;
        of.span = Some(needed);
        self.wanted.push_back(service.to_owned());
        true
    }

    /// Waits no longer for writes. Tells whether that makes work.
    pub(crate) fn hurry(&mut self) -> bool {
        for service in std::mem::take(&mut self.late) {
            self.want(&service, true);
        }
        !self.wanted.is_empty()
    }

    /// Whether services wait for their writes.
    pub(crate) fn is_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether there is nothing to guard.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// What to do next.
    pub(crate) fn step(&mut self) -> Option<Step> {
        if let Some(watch) = self.unwanted.pop() {
            return Some(Step::End(watch));
        }
        while let Some(service) = self.wanted.pop_front() {
            let Some(of) = self.services.get(&service) else {
                continue;
            };
            let ours = self.keys.range(service.clone()..);
            let mut ours = ours
                .take_while(|(key, _)| key.starts_with(service.as_str()))
                .peekable();
            let key = match of.span {
                Some(Span::Key) => ours.peek().map(|(key, _)| (*key).clone()),
                _ => None,
            };
            let ask = Ask {
                service: service.clone(),
                key,
                since: of.since,
            };
            if !of.unsure {
                return Some(Step::Watch(ask));
            }
            let claims = ours.flat_map(|(_, own)| &own.claims);
            let written = claims.filter(|claim| claim.is_written()).cloned();
            return Some(Step::Look(ask, written.collect()));
        }
        None
    }

    /// The keys of `service` were looked at, at `revision`.
    pub(crate) fn looked(&mut self, service: String, revision: i64) {
        if let Some(of) = self.services.get_mut(&service) {
            of.unsure = false;
            of.since = revision + 1;
            self.wanted.push_front(service);
        }
    }

    /// The server watches what was asked for of `service`.
    pub(crate) fn begun(&mut self, service: &str, watch: i64) {
        match self.services.get_mut(service) {
            Some(of) => self.unwanted.extend(of.watch.replace(watch)),
            None => self.unwanted.push(watch),
        }
    }

    /// At `revision` the key began to belong to the lease `owner`, or to nobody (0).
    pub(crate) fn seen(&mut self, key: &str, revision: i64, owner: i64) {
        if let Some(own) = self.keys.get_mut(key) {
            own.latest = own.latest.max((revision, owner));
            own.claims
                .iter()
                .for_each(|claim| claim.seen(revision, owner));
        }
    }

    /// All watches are gone, and changes may be missed from now on.
    pub(crate) fn broke(&mut self) {
        self.unwanted.clear();
        self.wanted.clear();
        for (service, of) in self.services.iter_mut().filter(|(_, of)| of.span.is_some()) {
            of.watch = None;
            of.unsure = true;
            self.wanted.push_back(service.clone());
        }
    }
}

impl Service {
    fn new(since: i64) -> Self {
        Self {
            keys: 0,
            claims: 0,
            writing: 0,
            since,
            span: None,
            unsure: false,
            watch: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "/p/s/";

    fn entered(guarded: &mut Guarded, key: &str, now: i64) -> Arc<Claim> {
        let claim = Arc::new(Claim::new(format!("{SERVICE}{key}"), 1));
        guarded.enter(SERVICE, &claim, now);
        claim
    }

    fn asked(guarded: &mut Guarded) -> Ask {
        match guarded.step() {
            Some(Step::Watch(ask)) => ask,
            other => panic!("expected a watch, not {other:?}"),
        }
    }

    fn looked_at(guarded: &mut Guarded) -> usize {
        match guarded.step() {
            Some(Step::Look(ask, claims)) if ask.service == SERVICE => claims.len(),
            other => panic!("expected a look, not {other:?}"),
        }
    }

    fn ends(guarded: &mut Guarded, watch: i64) -> bool {
        matches!(guarded.step(), Some(Step::End(ended)) if ended == watch)
    }

    #[test]
    fn one_record_costs_a_watch_of_its_key_from_before_its_write() {
        let mut guarded = Guarded::default();
        let claim = entered(&mut guarded, "1", 10);
        assert!(guarded.step().is_none(), "nothing is written yet");
        assert!(guarded.written(SERVICE, &claim, 12));
        let ask = asked(&mut guarded);
        assert_eq!((ask.key.as_deref(), ask.since), (Some("/p/s/1"), 11));
        guarded.begun(SERVICE, 5);
        assert!(guarded.step().is_none());
        assert!(
            guarded.leave(SERVICE, &claim),
            "the last one ends the watch"
        );
        assert!(ends(&mut guarded, 5) && guarded.is_empty());
    }

    #[test]
    fn several_records_share_one_watch_once_their_writes_are_done() {
        let mut guarded = Guarded::default();
        let one = entered(&mut guarded, "1", 10);
        guarded.written(SERVICE, &one, 11);
        asked(&mut guarded);
        guarded.begun(SERVICE, 5);
        let (two, three) = (
            entered(&mut guarded, "2", 12),
            entered(&mut guarded, "3", 12),
        );
        assert!(!guarded.written(SERVICE, &two, 13) && guarded.is_late());
        assert!(guarded.step().is_none(), "a write is under way");
        assert!(guarded.written(SERVICE, &three, 14));
        assert_eq!(looked_at(&mut guarded), 3);
        guarded.looked(SERVICE.to_owned(), 20);
        let ask = asked(&mut guarded);
        assert_eq!((ask.key, ask.since), (None, 21));
        guarded.begun(SERVICE, 6);
        assert!(
            ends(&mut guarded, 5),
            "the watch of one key is not needed any more"
        );
        let four = entered(&mut guarded, "4", 22);
        assert!(!guarded.written(SERVICE, &four, 23) && guarded.step().is_none());
    }

    #[test]
    fn a_record_that_is_registered_again_stays_one_record() {
        let mut guarded = Guarded::default();
        let former = entered(&mut guarded, "1", 10);
        guarded.written(SERVICE, &former, 11);
        asked(&mut guarded);
        guarded.begun(SERVICE, 5);
        let present = entered(&mut guarded, "1", 12);
        assert!(!guarded.written(SERVICE, &present, 13));
        assert!(!guarded.leave(SERVICE, &former) && guarded.step().is_none());
        guarded.seen("/p/s/1", 14, 0);
        assert!(present.lost().is_some(), "the same watch serves it");
    }

    #[test]
    fn endless_writes_do_not_put_the_watch_off_for_ever() {
        let mut guarded = Guarded::default();
        let (one, _under_way) = (
            entered(&mut guarded, "1", 10),
            entered(&mut guarded, "2", 10),
        );
        assert!(!guarded.written(SERVICE, &one, 11));
        assert!(guarded.hurry() && !guarded.is_late());
        assert_eq!(looked_at(&mut guarded), 1);
    }

    #[test]
    fn news_that_overtake_the_answer_to_the_write_count() {
        let mut guarded = Guarded::default();
        let claim = entered(&mut guarded, "1", 10);
        guarded.seen("/p/s/1", 12, 1);
        guarded.seen("/p/s/1", 13, 0);
        assert!(claim.lost().is_none());
        guarded.written(SERVICE, &claim, 12);
        assert!(claim.lost().is_some());
    }

    #[test]
    fn after_a_break_keys_are_looked_at_before_they_are_watched_again() {
        let mut guarded = Guarded::default();
        let claim = entered(&mut guarded, "1", 10);
        guarded.written(SERVICE, &claim, 12);
        asked(&mut guarded);
        guarded.begun(SERVICE, 5);
        guarded.broke();
        let _under_way = entered(&mut guarded, "2", 10);
        assert_eq!(
            looked_at(&mut guarded),
            1,
            "what is under way is not there yet"
        );
        guarded.looked(SERVICE.to_owned(), 40);
        assert_eq!(asked(&mut guarded).since, 41);
    }

    #[test]
    fn a_watch_that_comes_too_late_is_ended() {
        let mut guarded = Guarded::default();
        let claim = entered(&mut guarded, "1", 10);
        guarded.written(SERVICE, &claim, 12);
        asked(&mut guarded);
        guarded.leave(SERVICE, &claim);
        guarded.begun(SERVICE, 5);
        assert!(ends(&mut guarded, 5));
    }
}
