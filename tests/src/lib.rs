//! Whole-house tests: faults, processes, the command, the architecture.
//!
//! What the programs under `tests/` share. The fault suite is a table: each row is one
//! [`faults::Fault`] with a [`bounds::Bound`], carried out in a [`house::House`] (one server, three
//! agent processes of two nodes each, raw watches, directories and fresh lookups) by
//! [`suite::main`]. It is generic over the server: see [`backend::Backend`].

pub mod agent;
pub mod backend;
pub mod bounds;
pub mod door;
pub mod faults;
pub mod history;
pub mod house;
pub mod impostor;
pub mod observe;
pub mod random;
pub mod scripted;
pub mod suite;

/// What goes wrong in a test, as a sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A result of a test's step.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Fails with a sentence unless `holds`.
///
/// # Errors
/// The sentence.
pub fn ensure<S: Into<String>>(holds: bool, sentence: impl FnOnce() -> S) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(sentence().into().into())
    }
}
