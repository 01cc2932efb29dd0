//! What was measured several times.

use serde_json::{Value, json};

/// Measured values, in ascending order; never empty.
#[derive(Debug, Clone)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        if values.is_empty() {
            values.push(f64::NAN);
        }
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// What the work itself takes: everything else only adds to it.
    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "min": self.min(), "median": self.median(), "samples": self.0.len() })
    }
}
