//! What the plugin makes of answers, those of newer agents included: a scripted agent gives them.
#![expect(clippy::expect_used, reason = "a broken law is told by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "a client's own deadlines cannot be told to hurry"
)]

mod empty;
mod leases;
mod rounds;
mod script;
mod strange;
