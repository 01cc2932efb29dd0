//! What calls are counted by.

use http::Response;
use metrics::{Counter, Gauge, Histogram};
use tokio::time::Instant;
use waypost_core::ServiceName;

use crate::answer::Answer;
use crate::error::Result;

/// The meters of one service, found once.
#[derive(Clone)]
pub(crate) struct Meter {
    service: String,
    fine: Counter,
    took: Histogram,
    ejected: Gauge,
    retries: Gauge,
}

impl Meter {
    pub(crate) fn new(service: &ServiceName) -> Self {
        let service = service.to_string();
        Self {
            fine: metrics::counter!("waypost_attempts_total", "service" => service.clone(), "code" => "200"),
            took: metrics::histogram!("waypost_call_duration_seconds", "service" => service.clone()),
            ejected: metrics::gauge!("waypost_ejected_nodes", "service" => service.clone()),
            retries: metrics::gauge!("waypost_retry_budget_remaining", "service" => service.clone()),
            service,
        }
    }

    /// How many nodes are out, and how many retries the budget allows.
    #[expect(clippy::cast_precision_loss, reason = "neither comes near 2^52")]
    pub(crate) fn stand(&self, ejected: usize, retries: u64) {
        self.ejected.set(ejected as f64);
        self.retries.set(retries as f64);
    }

    /// A failed attempt.
    #[cold]
    pub(crate) fn attempt(&self, code: u16) {
        let (service, code) = (self.service.clone(), code.to_string());
        metrics::counter!("waypost_attempts_total", "service" => service, "code" => code)
            .increment(1);
    }

    pub(crate) fn call(&self, result: &Result<Response<Answer>>, begun: Instant) {
        match result {
            Ok(_) => self.fine.increment(1),
            Err(error) => self.failed(error.code()),
        }
        self.took.record(begun.elapsed().as_secs_f64());
    }

    #[cold]
    fn failed(&self, code: u16) {
        let (service, code) = (self.service.clone(), code.to_string());
        metrics::counter!("waypost_call_errors_total", "service" => service, "code" => code)
            .increment(1);
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meter")
    }
}
