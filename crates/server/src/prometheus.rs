//! A recorder for the numbers that the house and the program count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use waypost_core::{Error, Result};

/// Seconds; from a tenth of what a local call takes to what nobody waits for.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// How often what was recorded is folded into the buckets; unread samples are kept until then.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// The process's recorder of metrics, and what it has recorded as Prometheus reads it.
#[derive(Debug, Clone)]
pub struct Prometheus(pub(crate) Handle);

#[derive(Clone)]
pub(crate) struct Handle(PrometheusHandle);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Prometheus {
    /// Makes this process record its metrics; the second time, the same recorder is returned.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when the program has installed another
    /// recorder.
    pub fn install() -> Result<Self> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Self(Handle(handle.clone())));
        }
        let refused = |cause| {
            Error::config(
                "metrics cannot be recorded: the program has a recorder of its own; give its text \
                 to the admin listener with .page(\"/metrics\", ..)",
            )
            .with_source(cause)
        };
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(refused)?;
        *installed = Some(handle.clone());
        Ok(Self(Handle(handle)))
    }

    /// The recorder that was installed, if one was.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        installed.clone().map(|handle| Self(Handle(handle)))
    }

    /// Everything recorded, in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.0.render()
    }

    pub(crate) fn keep_up(&self) {
        self.0.0.run_upkeep();
    }
}
