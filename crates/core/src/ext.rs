//! Conveniences over any registry.

use async_trait::async_trait;

use crate::{Registry, Result, Service, ServiceName};

/// What can be built from the contract alone. Implemented for every [`Registry`]; not to be
/// implemented by hand.
#[async_trait]
pub trait RegistryExt: Registry {
    /// The live nodes of a service grouped by version, as go-micro's `GetService` returns them.
    ///
    /// # Cancel safety
    /// Safe.
    async fn get_service(&self, name: &ServiceName) -> Result<Vec<Service>> {
        Ok(Service::group(&self.lookup(name).await?))
    }
}

impl<R: Registry + ?Sized> RegistryExt for R {}
