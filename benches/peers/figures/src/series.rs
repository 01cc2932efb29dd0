//! What was measured several times.

use serde_json::{Value, json};

/// Measured values, in ascending order; never empty.
#[derive(Debug, Clone)]
pub struct Series(Vec<f64>);

impl Series {
    /// These values; without any it is one that is no number.
    #[must_use]
    pub fn new(mut values: Vec<f64>) -> Self {
        if values.is_empty() {
            values.push(f64::NAN);
        }
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// What the work itself takes: everything else only adds to it.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The one in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// All of it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "min": self.min(), "median": self.median(), "samples": self.0.len() })
    }
}
