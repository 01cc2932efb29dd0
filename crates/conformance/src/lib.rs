//! The public suite of laws that every Waypost registry keeps.
//!
//! A backend under test is a [`Subject`]: it opens clients of the backend, each in a namespace of
//! its own, and says what it can do to the backend behind their backs. [`cases`] are data: a name
//! that states a law, one sentence of explanation, and a function over a [`Context`]. Every
//! registry faces the same cases by the same names; one that does not apply is
//! [`Outcome::Ignored`] with the fact of the [`Profile`](waypost_core::Profile) that makes it so.
//!
//! Nothing here knows a test harness or a container; `waypost-testkit` runs the suite under
//! libtest, [`run`] runs it anywhere.
//!
//! ```no_run
//! # async fn example(subject: std::sync::Arc<dyn waypost_conformance::Subject>) {
//! for report in waypost_conformance::run(subject, 32).await {
//!     println!("{} {}", report.case.name, report.outcome);
//! }
//! # }
//! ```

mod case;
mod cases;
mod check;
mod context;
mod driven;
pub mod faults;
mod kept;
mod probe;
mod reader;
mod run;
mod service;
mod subject;

pub use case::{Case, Outcome};
pub use cases::cases;
pub use context::Context;
pub use driven::Driven;
pub use run::{Report, run};
pub use subject::{Cut, Planted, Subject};
