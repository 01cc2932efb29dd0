//! Numbers that are checked when a caller is built, not when it is busy.

use std::fmt;
use std::time::Duration;

/// A number that cannot be meant: its name, what was given, and the rule it breaks.
///
/// ```
/// use waypost_resilience::Retry;
///
/// let error = Retry::default().with_retries(1_000_000).unwrap_err();
/// assert_eq!(error.to_string(), "retries is 1000000: it must be 0 to 100");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    name: &'static str,
    value: String,
    rule: &'static str,
}

impl ConfigError {
    pub(crate) fn new(name: &'static str, value: impl fmt::Display, rule: &'static str) -> Self {
        let value = value.to_string();
        Self { name, value, rule }
    }

    /// The name of the number.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would be taken.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, rule } = self;
        write!(f, "{name} is {value}: it must be {rule}")
    }
}

impl std::error::Error for ConfigError {}

/// A duration that is not zero.
pub(crate) fn positive(name: &'static str, value: Duration) -> Result<Duration, ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(name, "0s", "longer than nothing"));
    }
    Ok(value)
}

/// A number from `least` to `most`; never NaN.
pub(crate) fn within(
    name: &'static str,
    value: f64,
    (least, most): (f64, f64),
    rule: &'static str,
) -> Result<f64, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::new(name, value, rule))
}
