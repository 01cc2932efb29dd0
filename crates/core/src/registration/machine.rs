//! The keeper's decisions, as a pure step: what happened goes in, what to do next comes out.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{self, Backoff};
use crate::{Error, ErrorKind};

use super::{Standing, State};

/// First delay after a failure.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
/// Longest delay between two tries.
pub(super) const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// A lease that still stands is tried for again before half of what is left of it has passed, or
/// within this, so that the last try before its end is not long before it.
const LAST_CHANCE: Duration = Duration::from_millis(500);
/// So many leases in a row, each lost within a ttl of its registration, are a quarrel.
const QUARREL: u32 = 3;
/// Spread of re-registrations after a loss that is short enough for one record alone.
const SHORT_SPREAD: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The record was written and a lease with this ttl granted.
    Registered(Duration),
    /// The record could not be written.
    RegisterFailed(Error),
    /// The lease was renewed, or the record updated under it.
    Renewed,
    /// Renewing or updating failed.
    RenewFailed(Error),
    /// The backend told that the record or the lease is gone.
    Lost(Error),
}

/// What to do next, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Register at this moment.
    Register(Instant),
    /// Renew at this moment.
    Renew(Instant),
}

/// The keeper's state.
#[derive(Debug)]
pub(super) struct Machine {
    wanted_interval: Option<Duration>,
    ttl: Option<Duration>,
    /// When the operation began that is under way.
    begun: Option<Instant>,
    /// When the last one began that succeeded: the registry counts the ttl from some moment after.
    last_success: Instant,
    registered: Instant,
    /// How many leases in a row were lost within a ttl of their registration.
    quarrel: u32,
    backoff: Backoff,
    standing: Standing,
}

impl Machine {
    pub(super) fn new(wanted_interval: Option<Duration>, now: Instant) -> Self {
        Self {
            wanted_interval,
            ttl: None,
            begun: None,
            last_success: now,
            registered: now,
            quarrel: 0,
            backoff: Backoff::new(BACKOFF_BASE, BACKOFF_CAP),
            standing: Standing {
                state: State::Registering,
                ttl: None,
                cause: None,
                since: now,
            },
        }
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes note that an operation begins, which a step will tell the end of.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    pub(super) fn step(&mut self, input: Input, now: Instant) -> Next {
        let begun = self.begun.take().unwrap_or(now);
        match input {
            Input::Registered(ttl) => {
                self.ttl = Some(ttl);
                self.registered = now;
                self.succeeded(begun, now)
            }
            Input::Renewed => self.succeeded(begun, now),
            Input::RegisterFailed(error) => {
                let state = match self.standing.state {
                    State::Lost => State::Lost,
                    _ if error.is_transient() => State::Registering,
                    _ => State::Degraded,
                };
                let at = self.again(&error, begun, now);
                self.enter(state, Some(error), now);
                Next::Register(at)
            }
            Input::RenewFailed(error) if error.kind() == ErrorKind::LeaseLost => {
                self.lost(error, now)
            }
            Input::Lost(error) => self.lost(error, now),
            Input::RenewFailed(error) => {
                let at = self.again(&error, begun, now);
                let end = self.last_success + self.ttl.unwrap_or_default();
                let left = end.saturating_duration_since(now);
                if left.is_zero() {
                    self.enter(State::Lost, Some(error), now);
                    return Next::Register(at);
                }
                let latest = now + (left / 2).max(LAST_CHANCE);
                let hurries = is_away(&error);
                self.enter(State::Degraded, Some(error), now);
                Next::Renew(if hurries { at.min(latest) } else { at })
            }
        }
    }

    fn succeeded(&mut self, begun: Instant, now: Instant) -> Next {
        self.last_success = begun;
        self.backoff.reset();
        self.enter(State::Live, None, now);
        // Earlier than the interval by up to a tenth: beats of records that were born together
        // drift apart, and none is late. A registry that takes long gets its rest all the same.
        let beat = self.interval().mul_f64(1.0 - fastrand::f64() / 10.0);
        let at = (begun + beat).max(now + beat / 2);
        Next::Renew(clock::slot(at, now))
    }

    fn lost(&mut self, error: Error, now: Instant) -> Next {
        self.enter(State::Lost, Some(error), now);
        let young = self.ttl.is_some_and(|ttl| now < self.registered + ttl);
        self.quarrel = if young {
            self.quarrel.saturating_add(1)
        } else {
            0
        };
        let interval = self.interval();
        // Lost young may be chance; lost young three times, and somebody else claims the record.
        // Two who answered each other at once would write it several times a second, for ever.
        let (least, spread) = if self.quarrel >= QUARREL {
            (interval + interval / 4, interval.min(BACKOFF_CAP) / 2)
        } else {
            (Duration::ZERO, spread(interval))
        };
        Next::Register(now + least + spread.mul_f64(fastrand::f64()))
    }

    fn interval(&self) -> Duration {
        let ttl = self.ttl.unwrap_or(super::DEFAULT_TTL);
        match self.wanted_interval {
            Some(interval) if interval < ttl => interval,
            _ => ttl / 3,
        }
    }

    /// When to try again what began at `begun` and has failed.
    fn again(&mut self, error: &Error, begun: Instant, now: Instant) -> Instant {
        if !error.is_transient() {
            return now + clock::jittered(BACKOFF_CAP.mul_f64(0.8), 0.2);
        }
        let delay = self.backoff.after(error);
        if !is_away(error) {
            return now + delay;
        }
        // A registry that let us wait in vain has had its rest.
        (begun + delay).max(now + delay.min(BACKOFF_BASE))
    }

    fn enter(&mut self, state: State, cause: Option<Error>, now: Instant) {
        if self.standing.state != state {
            self.standing.since = now;
        }
        self.standing.state = state;
        self.standing.ttl = self.ttl;
        self.standing.cause = cause;
    }
}

/// Whether the registry is away, which may be over at any moment. One that answers nonsense may be
/// asked less often, and one that asks for a pause gets it.
fn is_away(error: &Error) -> bool {
    let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
    is_away && error.retry_after().is_none()
}

/// How long a fleet takes to return whose leases were lost at once. Over half an interval it
/// writes less than three times as much as when it renews; over a third, as records with a short
/// ttl do, about as much, and they are back within a second.
fn spread(interval: Duration) -> Duration {
    let short = interval / 3;
    if short < SHORT_SPREAD {
        short
    } else {
        (interval / 2).min(BACKOFF_CAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn live(wanted: Option<Duration>) -> (Machine, Instant) {
        let now = Instant::now();
        let mut machine = Machine::new(wanted, now);
        machine.step(Input::Registered(TTL), now);
        (machine, now)
    }

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "test")
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_comes_within_the_interval_that_follows_the_granted_ttl() {
        for (wanted, interval) in [
            (None, TTL / 3),
            (Some(Duration::from_secs(15)), Duration::from_secs(15)),
            (Some(Duration::from_secs(40)), TTL / 3),
        ] {
            for _ in 0..200 {
                let (mut machine, now) = live(wanted);
                let Next::Renew(at) = machine.step(Input::Renewed, now) else {
                    panic!("a renewed lease is renewed again");
                };
                assert!(at <= now + interval, "{:?}", at - now);
                assert!(at + clock::SLOT >= now + interval.mul_f64(0.9));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_that_differs_from_what_was_asked_for_sets_the_interval() {
        for granted in [Duration::from_secs(6), Duration::from_secs(300)] {
            let now = Instant::now();
            let Next::Renew(at) = Machine::new(None, now).step(Input::Registered(granted), now)
            else {
                panic!("a registered lease is renewed");
            };
            assert!(at <= now + granted / 3, "{:?}", at - now);
            assert!(at + clock::SLOT >= now + (granted / 3).mul_f64(0.8));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ttl_counts_from_when_the_operation_began() {
        for input in [Input::Registered(TTL), Input::Renewed] {
            let (mut machine, begun) = live(None);
            machine.begin(begun);
            let Next::Renew(at) = machine.step(input, begun + TTL / 6) else {
                panic!("a lease is renewed");
            };
            assert!(at <= begun + TTL / 3, "{:?}", at - begun);
            let failed = Input::RenewFailed(error(ErrorKind::Unavailable));
            machine.step(failed, begun + TTL);
            assert_eq!(machine.standing().state, State::Lost);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_takes_longer_than_the_interval_gets_a_pause() {
        let (mut machine, begun) = live(None);
        machine.begin(begun);
        let now = begun + TTL / 2;
        let Next::Renew(at) = machine.step(Input::Renewed, now) else {
            panic!("a lease is renewed");
        };
        assert!(at + clock::SLOT >= now + TTL * 3 / 20, "{:?}", at - now);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_in_vain_is_part_of_the_pause() {
        for _ in 0..50 {
            let (mut machine, begun) = live(None);
            // So many failures that a delay is drawn from up to its cap.
            for _ in 0..20 {
                machine.step(Input::RegisterFailed(error(ErrorKind::Timeout)), begun);
            }
            machine.begin(begun);
            let now = begun + BACKOFF_CAP;
            let failed = Input::RegisterFailed(error(ErrorKind::Timeout));
            let Next::Register(at) = machine.step(failed, now) else {
                panic!("a failed registration is tried again");
            };
            assert!(at > now && at <= now + BACKOFF_BASE, "{:?}", at - now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_after_a_success_is_tried_again_quickly() {
        for _ in 0..50 {
            let (mut machine, now) = live(None);
            for _ in 0..20 {
                machine.step(Input::RegisterFailed(error(ErrorKind::Unavailable)), now);
            }
            machine.step(Input::Registered(TTL), now);
            let failed = Input::RenewFailed(error(ErrorKind::Unavailable));
            let Next::Renew(at) = machine.step(failed, now) else {
                panic!("a lease is renewed until its ttl has passed");
            };
            assert!(at <= now + BACKOFF_BASE, "{:?}", at - now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_is_followed_by_another_try() {
        use ErrorKind::*;
        for kind in [
            Config,
            Unsupported,
            NotFound,
            LeaseLost,
            Denied,
            Unavailable,
            Timeout,
            Throttled,
            Corrupt,
            Closed,
            Internal,
        ] {
            let (mut machine, now) = live(None);
            for n in 0..100 {
                let now = now + Duration::from_secs(n);
                let input = if n % 2 == 0 {
                    Input::RenewFailed(error(kind))
                } else {
                    Input::RegisterFailed(error(kind))
                };
                let (Next::Register(at) | Next::Renew(at)) = machine.step(input, now);
                // Only a record that others claim too is left alone for longer.
                let quarrel = kind == LeaseLost;
                let most = BACKOFF_CAP + if quarrel { TTL / 3 } else { Duration::ZERO };
                assert!(at <= now + most, "{kind}: {:?}", at - now);
            }
            assert_ne!(machine.standing().state, State::Live);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_lease_is_degraded_until_its_ttl_has_passed_and_lost_then() {
        let (mut machine, now) = live(None);
        let just_before = now + TTL - Duration::from_millis(1);
        let next = machine.step(
            Input::RenewFailed(error(ErrorKind::Unavailable)),
            just_before,
        );
        assert!(matches!(next, Next::Renew(_)));
        assert_eq!(machine.standing().state, State::Degraded);
        let next = machine.step(Input::RenewFailed(error(ErrorKind::Unavailable)), now + TTL);
        assert!(matches!(next, Next::Register(_)));
        assert_eq!(machine.standing().state, State::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_near_its_end_is_tried_for_while_it_stands() {
        for left in [1, 2, 8].map(Duration::from_secs) {
            for _ in 0..50 {
                let (mut machine, begun) = live(None);
                let (now, end) = (begun + TTL - left, begun + TTL);
                // So many failures that a delay is drawn from up to its cap.
                for _ in 0..20 {
                    machine.step(Input::RenewFailed(error(ErrorKind::Timeout)), begun);
                }
                let Next::Renew(at) =
                    machine.step(Input::RenewFailed(error(ErrorKind::Timeout)), now)
                else {
                    panic!("a lease is renewed until its ttl has passed");
                };
                assert!(at <= end - left / 2, "{left:?}: {:?}", at - now);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_near_its_end_is_not_tried_for_without_a_pause() {
        let (mut machine, begun) = live(None);
        let (mut now, mut tries) = (begun, 0);
        while let Next::Renew(at) =
            machine.step(Input::RenewFailed(error(ErrorKind::Unavailable)), now)
        {
            now = at;
            tries += i32::from(now >= begun + TTL - Duration::from_secs(5));
        }
        assert!((1..20).contains(&tries), "{tries}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_that_lost_its_leases_at_once_returns_spread() {
        // Intervals of ttls of 5 s, 18 s, 30 s and 5 min, and how long the return takes.
        for (interval, most) in [(1.666, 0.556), (6.0, 3.0), (10.0, 5.0), (100.0, 5.0)] {
            let mut latest = Duration::ZERO;
            for _ in 0..500 {
                let interval = Duration::from_secs_f64(interval);
                let (mut machine, now) = live(Some(interval));
                machine.ttl = Some(interval * 3);
                let Next::Register(at) =
                    machine.step(Input::Lost(error(ErrorKind::LeaseLost)), now)
                else {
                    panic!("a lost lease is registered anew");
                };
                latest = latest.max(at - now);
            }
            let latest = latest.as_secs_f64();
            assert!(latest <= most, "{interval}: {latest}");
            assert!(
                latest >= most * 0.9,
                "{interval}: spread, not at once: {latest}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_claim_one_record_come_to_write_it_once_an_interval_at_most() {
        let begun = Instant::now();
        let mut machines = [Machine::new(None, begun), Machine::new(None, begun)];
        let (mut now, mut writer, mut writes) = (begun, 0, Vec::new());
        while now < begun + TTL * 20 {
            machines[writer].step(Input::Registered(TTL), now);
            writes.push(now);
            // The other one is told at once that the record is not its own any more.
            writer = 1 - writer;
            let Next::Register(at) =
                machines[writer].step(Input::Lost(error(ErrorKind::LeaseLost)), now)
            else {
                panic!("a lost lease is registered anew");
            };
            assert!(at <= now + TTL / 3 + BACKOFF_CAP, "{:?}", at - now);
            now = at;
        }
        let at_first = 2 * QUARREL as usize;
        let gaps = writes
            .windows(2)
            .skip(at_first)
            .map(|pair| pair[1] - pair[0]);
        assert!(gaps.min() >= Some(TTL / 3), "{writes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_lived_for_a_ttl_is_returned_to_quickly_again() {
        let (mut machine, mut now) = live(None);
        for _ in 0..4 {
            machine.step(Input::Lost(error(ErrorKind::LeaseLost)), now);
            machine.step(Input::Registered(TTL), now);
        }
        now += TTL;
        let Next::Register(at) = machine.step(Input::Lost(error(ErrorKind::LeaseLost)), now) else {
            panic!("a lost lease is registered anew");
        };
        assert!(at <= now + TTL / 6, "{:?}", at - now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_for_a_pause_gets_it() {
        let (mut machine, now) = live(None);
        let pause = Duration::from_secs(3);
        for input in [Input::RenewFailed, Input::RegisterFailed] {
            let busy = error(ErrorKind::Throttled).with_retry_after(pause);
            let (Next::Register(at) | Next::Renew(at)) = machine.step(input(busy), now);
            assert!(
                at >= now + pause && at <= now + BACKOFF_CAP,
                "{:?}",
                at - now
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_tried_again_slowly_and_shows_as_degraded() {
        let now = Instant::now();
        let mut machine = Machine::new(None, now);
        let Next::Register(at) = machine.step(Input::RegisterFailed(error(ErrorKind::Denied)), now)
        else {
            panic!("a refused registration is tried again");
        };
        assert!(at >= now + Duration::from_secs(3));
        assert_eq!(machine.standing().state, State::Degraded);
        machine.step(Input::Registered(TTL), at);
        assert_eq!(machine.standing().state, State::Live);
        assert!(machine.standing().cause.is_none());
    }
}
