//! The same rules as tower layers.

mod body;
mod deadline;
mod expiry;
mod retry;

pub use body::BoundedBody;
pub use deadline::{DeadlineFuture, DeadlineLayer, DeadlineService};
pub use expiry::{ExpiryFuture, ExpiryLayer, ExpiryService};
pub use retry::{GaveUp, Idempotent, RetryLayer, RetryService, classify};

/// Any error, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests;
