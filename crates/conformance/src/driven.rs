//! A subject from a driver and the URL of a namespace.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use waypost_core::{Driver, Origin, Profile, Registry, Result, Target};

use crate::Subject;

/// A [`Subject`] that opens a [`Driver`] at one URL a namespace, and cannot reach behind it.
pub struct Driven<F> {
    driver: &'static Driver,
    url: F,
}

impl<F: Fn(&str) -> String + Send + Sync + 'static> Driven<F> {
    /// Opens `driver` at what `url` makes of a namespace: `etcd://127.0.0.1:2379/` and the
    /// namespace, say.
    pub fn new(driver: &'static Driver, url: F) -> Self {
        Self { driver, url }
    }
}

#[async_trait]
impl<F: Fn(&str) -> String + Send + Sync + 'static> Subject for Driven<F> {
    fn profile(&self) -> Profile {
        self.driver.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let target = Target::parse(&(self.url)(namespace), None, Origin::Code)?;
        (self.driver.connect)(target).await
    }
}

impl<F> fmt::Debug for Driven<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven")
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}
