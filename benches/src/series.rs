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

    pub(crate) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The value below which a share of `q` of all lies (nearest rank).
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let last = self.0.len() - 1;
        // Indices are small, and a share of them is not negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (q * last as f64).round() as usize;
        self.0.get(index.min(last)).copied().unwrap_or(f64::NAN)
    }

    /// From the least to the greatest, as a share of the median: how much the same work differs
    /// from itself.
    pub(crate) fn spread(&self) -> f64 {
        (self.max() - self.min()) / self.median().abs()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "median": self.median(),
            "min": self.min(),
            "max": self.max(),
            "spread": self.spread(),
            "samples": self.0.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let series = Series::new(vec![3.0, 1.0, 2.0, 5.0, 4.0]);
        assert_eq!(
            (series.min(), series.median(), series.max()),
            (1.0, 3.0, 5.0)
        );
        assert_eq!(series.quantile(0.75), 4.0);
        assert!((series.spread() - 4.0 / 3.0).abs() < 1e-9);
        assert!(Series::new(Vec::new()).median().is_nan());
    }
}
