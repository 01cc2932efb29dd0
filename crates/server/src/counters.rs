//! What a service counts of itself, beside the metrics that a recorder keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use metrics::Gauge;
use serde_json::{Value, json};

/// Counts of one service, for `/stats`.
#[derive(Debug)]
pub(crate) struct Counters {
    /// The service's name, the id of its errors.
    pub(crate) service: Arc<str>,
    pub(crate) requests: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    /// The same, for the recorder.
    pub(crate) gauge: Gauge,
    /// Whether peers are told to open no further requests on their connections.
    pub(crate) leaving: AtomicBool,
}

impl Counters {
    pub(crate) fn new(service: &str) -> Self {
        let service: Arc<str> = service.into();
        Self {
            gauge: metrics::gauge!("waypost_server_requests_in_flight", "service" => Arc::clone(&service)),
            service,
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// Counts a handler that panicked, and says so.
    pub(crate) fn panicked(&self, what: &str) {
        let service = &self.service;
        self.panics.fetch_add(1, Relaxed);
        metrics::counter!("waypost_server_panics_total", "service" => Arc::clone(service))
            .increment(1);
        tracing::error!(%service, panic = what, "a handler panicked");
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "requests": self.requests.load(Relaxed),
            "failed": self.failed.load(Relaxed),
            "panics": self.panics.load(Relaxed),
            "in_flight": self.in_flight.load(Relaxed),
        })
    }
}
