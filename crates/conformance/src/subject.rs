//! What the suite asks of a backend under test.

use std::sync::Arc;

use async_trait::async_trait;
use waypost_core::{Instance, Profile, Registry, Result};

/// A backend under test.
///
/// Only [`profile`](Subject::profile) and [`open`](Subject::open) are needed. The other methods
/// reach the backend behind its clients' backs; each one left out turns the cases that need it
/// into ignored ones, by a reason that names the method.
///
/// A *namespace* is a short random name of ASCII letters, digits and `-`: a key prefix, a
/// directory, a map. Cases run at the same time, each in a namespace of its own, and must not see
/// each other's records.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// The facts that the registry states of itself.
    fn profile(&self) -> Profile;

    /// Opens a fresh client of the shared backend, as another process would.
    ///
    /// # Errors
    /// Whatever opening the registry gives.
    ///
    /// # Cancel safety
    /// Safe.
    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>>;

    /// Writes raw bytes where the registry keeps the record of `node` of `service`, to stay for at
    /// least a minute or until it is written over.
    ///
    /// A backend whose records have fields of their own puts the bytes into those that it has. One
    /// of which [`names_itself`](Profile::names_itself) is false has no place for a name or an id
    /// that contradicts the key, and leaves it out.
    ///
    /// # Errors
    /// Whatever writing gives.
    ///
    /// # Cancel safety
    /// Safe.
    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        let _ = (namespace, service, node, bytes);
        Ok(Planted::Unsupported("the subject plants no raw records"))
    }

    /// Makes these the records of the namespace in one step: what there is and is not named is
    /// removed. They stay for at least a minute.
    ///
    /// This is how a registry that cannot be written to gets its records, and how a batch is made.
    ///
    /// # Errors
    /// Whatever writing gives.
    ///
    /// # Cancel safety
    /// Safe.
    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        let _ = (namespace, instances);
        Ok(Planted::Unsupported("the subject fills in no batches"))
    }

    /// Takes the backend away from every client of the namespace, those opened later included,
    /// until [`mend`](Subject::mend).
    ///
    /// # Errors
    /// Whatever cutting gives.
    ///
    /// # Cancel safety
    /// Safe.
    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        let _ = (namespace, cut);
        Ok(Planted::Unsupported("the subject cuts no connections"))
    }

    /// Gives the backend back after [`cut`](Subject::cut).
    ///
    /// # Errors
    /// Whatever mending gives.
    ///
    /// # Cancel safety
    /// Safe.
    async fn mend(&self, namespace: &str) -> Result<()> {
        let _ = namespace;
        Ok(())
    }
}

/// What became of a request to reach behind the clients' backs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// It is done.
    Done,
    /// This backend has nothing of the kind, by this reason.
    Unsupported(&'static str),
}

/// How a backend goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Connections are reset and refused, as by a process that died.
    Refuse,
    /// Connections stay and nothing passes, as behind a dead link or with a frozen process.
    Silence,
}
