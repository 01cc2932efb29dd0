//! How a case says that it is through: by `?`.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{Error, Instance, Registry, ServiceName};

use crate::{Outcome, Planted};

/// Why a case stops early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    Ignored(String),
}

/// What the steps of a case return.
pub(crate) type Check<T = ()> = Result<T, Stop>;

/// How long a poll waits before it looks again.
pub(crate) const PACE: Duration = Duration::from_millis(25);

impl Stop {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(format!("an operation that had to work failed: {error:?}"))
    }
}

pub(crate) fn conclude(check: Check) -> Outcome {
    match check {
        Ok(()) => Outcome::Passed,
        Err(Stop::Failed(text)) => Outcome::Failed(text),
        Err(Stop::Ignored(reason)) => Outcome::Ignored(reason),
    }
}

/// Goes on only if the subject could do what was asked.
pub(crate) fn done(planted: Planted) -> Check {
    match planted {
        Planted::Done => Ok(()),
        Planted::Unsupported(reason) => Err(Stop::Ignored(reason.to_owned())),
    }
}

/// Stops the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::check::Stop::Failed(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Reads a service again and again until `fault` finds nothing, at most for `bound`.
pub(crate) async fn eventually(
    registry: &dyn Registry,
    service: &ServiceName,
    bound: Duration,
    mut fault: impl FnMut(&[Instance]) -> Option<String>,
) -> Check<Duration> {
    let start = Instant::now();
    loop {
        let seen = registry.lookup(service).await?;
        let Some(text) = fault(&seen) else {
            return Ok(start.elapsed());
        };
        if start.elapsed() > bound {
            return Err(Stop::Failed(format!(
                "{text}; a fresh read still says so after {bound:?}: {}",
                listed(&seen)
            )));
        }
        sleep(PACE).await;
    }
}

/// Reads a service again and again for all of `span`; `fault` must never find anything.
pub(crate) async fn always(
    registry: &dyn Registry,
    service: &ServiceName,
    span: Duration,
    mut fault: impl FnMut(&[Instance]) -> Option<String>,
) -> Check {
    let start = Instant::now();
    while start.elapsed() < span {
        let seen = registry.lookup(service).await?;
        if let Some(text) = fault(&seen) {
            return Err(Stop::Failed(format!(
                "{text}; a fresh read said so after {:?} of {span:?}: {}",
                start.elapsed(),
                listed(&seen)
            )));
        }
        sleep(PACE).await;
    }
    Ok(())
}

/// Finds fault unless exactly these records are there.
pub(crate) fn exactly(wanted: &[Instance]) -> impl Fn(&[Instance]) -> Option<String> + use<> {
    let mut wanted = wanted.to_vec();
    wanted.sort_by_key(Instance::key);
    move |seen| {
        let mut seen = seen.to_vec();
        seen.sort_by_key(Instance::key);
        if seen == wanted {
            return None;
        }
        let keys = |list: &[Instance]| list.iter().map(Instance::key).collect::<Vec<_>>();
        Some(if keys(&seen) == keys(&wanted) {
            format!("the keys are right, but not the content: expected {wanted:?}")
        } else {
            format!("expected {}", listed(&wanted))
        })
    }
}

/// Finds fault unless exactly this record is there.
pub(crate) fn only(wanted: &Instance) -> impl Fn(&[Instance]) -> Option<String> + use<> {
    exactly(std::slice::from_ref(wanted))
}

/// The records in few words, for failure texts.
pub(crate) fn listed(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "nothing".to_owned();
    }
    let mut names: Vec<String> = instances
        .iter()
        .take(8)
        .map(|instance| {
            format!(
                "{} at {} ({})",
                instance.key(),
                instance.node.address,
                instance.version
            )
        })
        .collect();
    if instances.len() > names.len() {
        names.push(format!("… {} in all", instances.len()));
    }
    names.join(", ")
}
