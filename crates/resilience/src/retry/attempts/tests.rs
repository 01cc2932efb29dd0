//! Every combination by its laws, and whole calls against a model.

use proptest::prelude::*;

use super::*;
use crate::retry::{Backoff, RetryAlways, RetryNever, RetryOnError, RetrySafe};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    OnError,
    Safe,
    Never,
    Stops,
    Fails,
}

const KINDS: [Kind; 6] = [
    Kind::Always,
    Kind::OnError,
    Kind::Safe,
    Kind::Never,
    Kind::Stops,
    Kind::Fails,
];
const SENT: [Sent; 3] = [Sent::Never, Sent::Maybe, Sent::Answered];
const CODES: [u16; 6] = [200, 404, 408, 429, 500, 503];

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn retry(kind: Kind, retries: u32, backoff: impl Backoff) -> Retry {
    let retry = Retry::default().with_backoff(backoff);
    let retry = retry.with_retries(retries).expect("allowed");
    match kind {
        Kind::Always => retry.with_policy(RetryAlways),
        Kind::OnError => retry.with_policy(RetryOnError),
        Kind::Safe => retry.with_policy(RetrySafe),
        Kind::Never => retry.with_policy(RetryNever),
        Kind::Stops => {
            retry.with_policy(|_: &CallInfo<'_>, _: u32, _: &Outcome<'_>| Decision::Stop)
        }
        Kind::Fails => retry.with_policy(|_: &CallInfo<'_>, _: u32, _: &Outcome<'_>| {
            Decision::Fail("the policy's own".into())
        }),
    }
}

fn steady(wait: Duration) -> impl Backoff {
    move |_: &CallInfo<'_>, coming: &Upcoming| match coming.attempt {
        0 => Duration::ZERO,
        _ => wait,
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    idempotent: bool,
    sent: Sent,
    code: u16,
    no_retry: bool,
    retry_after: Option<Duration>,
    fresh: bool,
    retries: u32,
    incoming: u32,
    budget: u64,
    left: Duration,
}

/// What was decided, comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Go(Duration),
    End(Why),
    Fail,
}

fn said(verdict: Verdict) -> Said {
    match verdict {
        Verdict::Go { wait } => Said::Go(wait),
        Verdict::End(why) => Said::End(why),
        Verdict::Fail(_) => Said::Fail,
    }
}

const WAIT: Duration = Duration::from_millis(10);

/// What is decided after the first try, and how many repeats the budget has then.
fn decided(case: Case) -> (Said, u64, Attempts) {
    let now = Instant::now();
    let retry = retry(case.kind, case.retries, steady(WAIT));
    let budget = RetryBudget::with(0, case.budget);
    let call = CallInfo::new("greeter", "hello").with_idempotent(case.idempotent);
    let rules = Rules {
        retry: &retry,
        budget: &budget,
        call: &call,
        deadline: Deadline::after_at(Duration::from_secs(5), now),
    };
    let mut attempts = Attempts::new(case.incoming);
    assert_eq!(said(attempts.first(&rules, now)), Said::Go(Duration::ZERO));
    let later = rules.deadline.at() - case.left;
    let mut outcome = Outcome::new(case.code, case.sent);
    (outcome.no_retry, outcome.retry_after) = (case.no_retry, case.retry_after);
    let verdict = attempts.after(&rules, &outcome, case.fresh, later);
    (said(verdict), budget.remaining(later), attempts)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, sent, code) in KINDS.iter().flat_map(|kind| {
        let pairs = SENT.iter().flat_map(|sent| CODES.map(|code| (*sent, code)));
        pairs.map(|(sent, code)| (*kind, sent, code))
    }) {
        for retry_after in [None, Some(ms(1)), Some(ms(40)), Some(Duration::MAX)] {
            for bits in 0_u32..64 {
                let bit = |place: u32| bits >> place & 1 == 1;
                for left in [ms(4), ms(14), ms(15), ms(4_000)] {
                    cases.push(Case {
                        kind,
                        sent,
                        code,
                        retry_after,
                        left,
                        idempotent: bit(0),
                        no_retry: bit(1),
                        fresh: bit(2),
                        retries: u32::from(bit(3)),
                        incoming: 1 + u32::from(bit(4)),
                        budget: u64::from(bit(5)),
                    });
                }
            }
        }
    }
    cases
}

#[test]
fn every_combination_keeps_the_laws() {
    let cases = cases();
    assert_eq!(cases.len(), 6 * 3 * 6 * 4 * 64 * 4);
    for case in cases {
        let (said, remaining, attempts) = decided(case);
        let is_go = matches!(said, Said::Go(_));
        let never_sent = case.sent == Sent::Never;
        let is_free = is_go && never_sent && case.fresh && case.kind != Kind::Never;
        if let Said::Go(wait) = said {
            assert!(wait + Deadline::LEAST <= case.left, "{case:?}: too late");
            assert!(
                wait >= case.retry_after.unwrap_or_default(),
                "{case:?}: too early"
            );
            assert!(wait >= WAIT, "{case:?}: the backoff was not asked");
            assert!(case.code != 200 && !case.no_retry, "{case:?}");
            assert!(!matches!(case.kind, Kind::Never | Kind::Fails), "{case:?}");
            assert!(
                is_free || (case.incoming == 1 && case.retries > 0),
                "{case:?}"
            );
            let harmless = never_sent || case.idempotent || case.kind != Kind::Safe;
            assert!(harmless, "{case:?}: may run twice");
        }
        let drawn = u64::from(is_go && !is_free);
        assert!(case.budget >= drawn, "{case:?}: more than there is");
        assert_eq!(
            remaining,
            case.budget - drawn,
            "{case:?}: drawn in vain or not at all"
        );
        assert_eq!(attempts.started(), 1 + u32::from(is_go), "{case:?}");
        let number = case
            .incoming
            .max(1 + u32::from(case.code == 200 || !never_sent));
        assert!(attempts.number() <= number, "{case:?}");
        if case.kind == Kind::Fails && case.code != 200 && !case.no_retry {
            assert_eq!(said, Said::Fail, "{case:?}");
        }
    }
}

#[test]
fn each_reason_is_given_for_what_it_says() {
    let good = Case {
        kind: Kind::Safe,
        idempotent: true,
        sent: Sent::Maybe,
        code: 503,
        no_retry: false,
        retry_after: None,
        fresh: true,
        retries: 1,
        incoming: 1,
        budget: 1,
        left: ms(4_000),
    };
    let unsent = Case {
        sent: Sent::Never,
        ..good
    };
    let rows = [
        ("as it should be", good, Said::Go(WAIT)),
        (
            "the peer asks for time",
            Case {
                retry_after: Some(ms(40)),
                ..good
            },
            Said::Go(ms(40)),
        ),
        (
            "it worked",
            Case { code: 200, ..good },
            Said::End(Why::NotRetryable),
        ),
        (
            "the caller's fault",
            Case { code: 404, ..good },
            Said::End(Why::NotRetryable),
        ),
        (
            "not idempotent",
            Case {
                idempotent: false,
                ..good
            },
            Said::End(Why::MayHaveRun),
        ),
        (
            "not idempotent, but answered",
            Case {
                idempotent: false,
                sent: Sent::Answered,
                ..good
            },
            Said::End(Why::NotRetryable),
        ),
        (
            "asked not to",
            Case {
                no_retry: true,
                ..good
            },
            Said::End(Why::NoRetryWished),
        ),
        (
            "no tries",
            Case { retries: 0, ..good },
            Said::End(Why::Exhausted),
        ),
        (
            "a repeat's",
            Case {
                incoming: 2,
                ..good
            },
            Said::End(Why::AlreadyRetried),
        ),
        (
            "no budget",
            Case { budget: 0, ..good },
            Said::End(Why::Budget),
        ),
        (
            "just in time",
            Case {
                left: ms(15),
                ..good
            },
            Said::Go(WAIT),
        ),
        (
            "just too late",
            Case {
                left: ms(14),
                ..good
            },
            Said::End(Why::Deadline),
        ),
        (
            "asked for too long",
            Case {
                retry_after: Some(Duration::MAX),
                ..good
            },
            Said::End(Why::Deadline),
        ),
        (
            "its own error",
            Case {
                kind: Kind::Fails,
                ..good
            },
            Said::Fail,
        ),
        (
            "never sent: free of tries, budget and the incoming number",
            Case {
                retries: 0,
                budget: 0,
                incoming: 9,
                idempotent: false,
                ..unsent
            },
            Said::Go(WAIT),
        ),
        (
            "never sent, by a policy that stops",
            Case {
                kind: Kind::Stops,
                ..unsent
            },
            Said::Go(WAIT),
        ),
        (
            "never sent, never repeated",
            Case {
                kind: Kind::Never,
                ..unsent
            },
            Said::End(Why::NotRetryable),
        ),
        (
            "never sent, no other node",
            Case {
                fresh: false,
                ..unsent
            },
            Said::Go(WAIT),
        ),
        (
            "never sent, no other node, no budget",
            Case {
                fresh: false,
                budget: 0,
                ..unsent
            },
            Said::End(Why::Budget),
        ),
        (
            "never sent, no other node, no tries",
            Case {
                fresh: false,
                retries: 0,
                ..unsent
            },
            Said::End(Why::Exhausted),
        ),
    ];
    for (name, case, expected) in rows {
        assert_eq!(decided(case).0, expected, "{name}");
    }
}

#[test]
fn a_repeat_is_repeated_where_that_is_asked_for() {
    let retry = Retry::default().with_retry_after_retry(true);
    let (budget, now) = (RetryBudget::default(), Instant::now());
    let call = CallInfo::new("greeter", "hello").with_idempotent(true);
    let deadline = Deadline::after_at(ms(5_000), now);
    let rules = Rules {
        retry: &retry,
        budget: &budget,
        call: &call,
        deadline,
    };
    let mut attempts = Attempts::new(3);
    assert!(matches!(attempts.first(&rules, now), Verdict::Go { .. }));
    assert!(!attempts.is_last(&rules));
    let verdict = attempts.after(&rules, &Outcome::new(503, Sent::Maybe), true, now);
    assert!(matches!(verdict, Verdict::Go { .. }));
    assert_eq!(attempts.number(), 3, "never below what came in");
}

#[test]
fn the_first_try_asks_the_backoff_and_the_clock() {
    let late = |_: &CallInfo<'_>, coming: &Upcoming| {
        assert_eq!((coming.attempt, coming.fresh_node), (0, true));
        ms(30)
    };
    let retry = Retry::default().with_backoff(late);
    let (budget, now) = (RetryBudget::with(1_000_000, 0), Instant::now());
    let call = CallInfo::new("greeter", "hello");
    for (left, expected) in [
        (ms(35), Said::Go(ms(30))),
        (ms(34), Said::End(Why::Deadline)),
        (ms(0), Said::End(Why::Deadline)),
    ] {
        let deadline = Deadline::after_at(left, now);
        let rules = Rules {
            retry: &retry,
            budget: &budget,
            call: &call,
            deadline,
        };
        if left.is_zero() {
            // With less than 5 ms left the backoff is not asked at all.
            let retry = Retry::default()
                .with_backoff(|_: &CallInfo<'_>, _: &Upcoming| -> Duration { panic!("asked") });
            let rules = Rules {
                retry: &retry,
                ..rules
            };
            assert_eq!(said(Attempts::new(1).first(&rules, now)), expected);
            continue;
        }
        assert_eq!(said(Attempts::new(1).first(&rules, now)), expected);
    }
    assert_eq!(
        budget.remaining(now),
        1,
        "only a call that begins is told to the budget"
    );
}

#[test]
fn a_try_that_cannot_be_followed_is_the_last() {
    let (budget, now) = (RetryBudget::default(), Instant::now());
    let deadline = Deadline::after_at(ms(5_000), now);
    let is_last = |kind, idempotent, retries, incoming| {
        let retry = retry(kind, retries, steady(WAIT));
        let call = CallInfo::new("greeter", "hello").with_idempotent(idempotent);
        let rules = Rules {
            retry: &retry,
            budget: &budget,
            call: &call,
            deadline,
        };
        Attempts::new(incoming).is_last(&rules)
    };
    assert!(!is_last(Kind::Safe, true, 2, 1));
    assert!(is_last(Kind::Safe, false, 2, 1));
    assert!(is_last(Kind::Safe, true, 0, 1));
    assert!(is_last(Kind::Safe, true, 2, 2));
    assert!(is_last(Kind::Never, true, 2, 1));
    assert!(!is_last(Kind::OnError, false, 2, 1));
}

/// How one try of a drawn call ends.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    code: u16,
    sent: Sent,
    no_retry: bool,
    retry_after: Option<u64>,
    fresh: bool,
    took: u64,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let code = prop::sample::select(CODES.to_vec());
    let sent = prop::sample::select(SENT.to_vec());
    let after = prop::option::weighted(0.2, 0_u64..300);
    let rest = (prop::bool::weighted(0.05), after, any::<bool>(), 0_u64..200);
    (code, sent, rest).prop_map(|(code, sent, (no_retry, retry_after, fresh, took))| Drawn {
        code,
        sent,
        no_retry,
        retry_after,
        fresh,
        took,
    })
}

/// The whole of a call, written once more: what is left of everything, as plain numbers.
struct Model {
    kind: Kind,
    idempotent: bool,
    is_repeat: bool,
    retries_left: u32,
    budget_left: u64,
    millis_left: u64,
    wait: u64,
}

impl Model {
    fn after(&mut self, ended: Drawn) -> Said {
        let unsent = ended.sent == Sent::Never;
        let is_passing = !matches!(ended.code, 200 | 404);
        let wanted = match self.kind {
            Kind::Always => ended.code != 200,
            Kind::OnError => matches!(ended.code, 408 | 500),
            Kind::Safe => is_passing && (unsent || self.idempotent),
            _ => false,
        };
        let free = unsent && ended.fresh && self.kind != Kind::Never;
        let may_have_run = ended.sent == Sent::Maybe && !self.idempotent;
        let wait = self.wait.max(ended.retry_after.unwrap_or(0));
        let stops = [
            (ended.code == 200, Said::End(Why::NotRetryable)),
            (ended.no_retry, Said::End(Why::NoRetryWished)),
            (self.kind == Kind::Fails, Said::Fail),
            (!wanted && !free && may_have_run, Said::End(Why::MayHaveRun)),
            (!wanted && !free, Said::End(Why::NotRetryable)),
            (!free && self.is_repeat, Said::End(Why::AlreadyRetried)),
            (!free && self.retries_left == 0, Said::End(Why::Exhausted)),
            (self.millis_left < wait + 5, Said::End(Why::Deadline)),
            (!free && self.budget_left == 0, Said::End(Why::Budget)),
        ];
        if let Some((_, said)) = stops.iter().find(|(applies, _)| *applies) {
            return *said;
        }
        if !free {
            self.retries_left -= 1;
            self.budget_left -= 1;
        }
        Said::Go(ms(wait))
    }
}

proptest! {
    #[test]
    fn whole_calls_go_as_the_model_says(
        ends in proptest::collection::vec(drawn(), 1..12),
        kind in prop::sample::select(KINDS.to_vec()),
        (idempotent, incoming, retries) in (any::<bool>(), 0_u32..3, 0_u32..4),
        (budget_left, total, wait) in (0_u64..4, 5_u64..1_500, 0_u64..60),
    ) {
        let mut model = Model {
            kind,
            idempotent,
            is_repeat: incoming > 1,
            retries_left: retries,
            budget_left,
            millis_left: total,
            wait,
        };
        let retry = retry(kind, retries, steady(ms(wait)));
        let budget = RetryBudget::with(0, budget_left);
        let call = CallInfo::new("greeter", "hello").with_idempotent(idempotent);
        let mut now = Instant::now();
        let deadline = Deadline::after_at(ms(total), now);
        let rules = Rules { retry: &retry, budget: &budget, call: &call, deadline };
        let mut attempts = Attempts::new(incoming);
        prop_assert_eq!(said(attempts.first(&rules, now)), Said::Go(Duration::ZERO));
        let mut tries = 1;
        for ended in ends {
            now += ms(ended.took);
            model.millis_left = model.millis_left.saturating_sub(ended.took);
            let mut outcome = Outcome::new(ended.code, ended.sent);
            outcome.no_retry = ended.no_retry;
            outcome.retry_after = ended.retry_after.map(ms);
            let verdict = said(attempts.after(&rules, &outcome, ended.fresh, now));
            prop_assert_eq!(verdict, model.after(ended));
            prop_assert_eq!(budget.remaining(now), model.budget_left);
            let Said::Go(wait) = verdict else { break };
            now += wait;
            model.millis_left -= u64::try_from(wait.as_millis()).expect("short");
            tries += 1;
        }
        prop_assert_eq!(attempts.started(), tries);
    }
}
