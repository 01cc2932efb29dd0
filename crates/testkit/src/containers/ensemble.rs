//! How servers of a backend become one cluster.

use super::Recipe;
use super::recipe::Setup;

/// Servers of a cluster.
pub(super) const MEMBERS: usize = 3;

/// One backend as a cluster: what each member is told of the others, and how to tell which one
/// leads.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ensemble {
    /// The backend.
    pub recipe: Recipe,
    /// The setup of the member at a place, given the names of all.
    pub(super) setup: fn(names: &[String], place: usize) -> Setup,
    /// Sent to a member's port, …
    pub(super) question: &'static str,
    /// … and what its answer contains if it leads.
    pub(super) answer: &'static str,
}
