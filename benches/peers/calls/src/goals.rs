//! What is wanted of calls, each as a ratio of CPU time.

use waypost_figures::Goal;

use crate::mode::Mode;
use crate::rounds::Shown;

/// Above this difference of somebody from itself, it is not judged.
const MOST_DOUBT: f64 = 0.02;

/// Who, beside whom, and the most that the ratio may be.
const GOALS: [(Mode, Mode, f64); 8] = [
    (Mode::HttpOurs, Mode::HttpRaw, 1.15),
    (Mode::HttpOurs, Mode::HttpPool, 1.0),
    (Mode::HttpOurs, Mode::HttpReqwest, 1.0),
    (Mode::HttpOurs10k, Mode::HttpOurs, 1.08),
    (Mode::GrpcOurs, Mode::GrpcChannel, 1.15),
    (Mode::GrpcOurs, Mode::GrpcChannel, 1.08),
    (Mode::GrpcOurs, Mode::GrpcBalance, 0.95),
    (Mode::GrpcOurs10k, Mode::GrpcOurs, 1.08),
];

pub(crate) fn of(shown: &[Shown]) -> Vec<Goal> {
    let find = |mode| shown.iter().find(|one| one.mode == mode);
    let goal = |(mode, beside, most)| {
        let (one, other): (&Shown, &Shown) = (find(mode)?, find(beside)?);
        let ratio = one.over(other, |turn| turn.cpu).median();
        let doubts = [one, other]
            .into_iter()
            .filter(|one| one.doubt() > MOST_DOUBT);
        let doubts: Vec<String> = doubts
            .map(|one| format!("{} by {:.1} %", one.mode.title(), one.doubt() * 100.0))
            .collect();
        Some(Goal {
            name: format!("{}: times {}", mode.title(), beside.title()),
            figures: vec![("all turns".to_owned(), ratio)],
            most,
            doubt: (!doubts.is_empty())
                .then(|| format!("differs from itself: {}", doubts.join("; "))),
        })
    };
    GOALS.into_iter().filter_map(goal).collect()
}
