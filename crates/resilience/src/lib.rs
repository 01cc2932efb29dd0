#![doc = include_str!("../README.md")]

mod config;
mod context;
mod deadline;
mod layer;
mod retry;

pub mod code;

pub use config::ConfigError;
pub use context::{ATTEMPT, Context, Forward, InvalidMetadata, Metadata, MetadataRule, Scoped};
pub use deadline::{BadTimeout, Bounded, Deadline, Expired, GRPC_TIMEOUT, TIMEOUT, TimeoutRule};
pub use layer::{
    BoundedBody, BoxError, DeadlineFuture, DeadlineLayer, DeadlineService, ExpiryFuture,
    ExpiryLayer, ExpiryService, GaveUp, Idempotent, RetryLayer, RetryService, classify,
};
pub use retry::{
    AttemptTimeout, Attempts, Backoff, CallInfo, Decision, FullJitter, MicroBackoff, Outcome,
    Pushback, Retry, RetryAlways, RetryBudget, RetryNever, RetryOnError, RetryPolicy, RetrySafe,
    Rules, Sent, Upcoming, Verdict, Why,
};
