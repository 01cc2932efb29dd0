//! What this plugin says of itself, and what it takes.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::{Driver, Profile, Registry, Result, Target};
use waypost_plugin_kit::OptionReader;

use crate::{MemoryRegistry, error};

pub(crate) const PROFILE: Profile = Profile {
    driver: "memory",
    least_ttl: Duration::from_millis(100),
    slack: Duration::from_millis(100),
    writable: true,
    owned: true,
    tells_loss: true,
    native_watch: true,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// Longest ttl granted; beyond it a deadline could overflow the clock.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// The memory registry as a row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "memory",
    summary: "in the memory of this process",
    default_port: None,
    default_address: "",
    profile: PROFILE,
    options: &[],
    connect: |target| {
        Box::pin(std::future::ready(
            open(&target).map(|registry| Arc::new(registry) as Arc<dyn Registry>),
        ))
    },
};

fn open(target: &Target) -> Result<MemoryRegistry> {
    OptionReader::new(&DRIVER, target)?;
    if !target.addresses().is_empty() || !target.path().is_empty() {
        return Err(error::no_address());
    }
    Ok(MemoryRegistry::new())
}

#[cfg(test)]
mod tests {
    use waypost_core::{ErrorKind, Origin};

    use super::*;

    #[tokio::test]
    async fn a_target_names_nothing_but_the_driver() {
        for good in ["memory", "memory://"] {
            let target = Target::parse(good, None, Origin::Code).expect(good);
            assert!((DRIVER.connect)(target).await.is_ok(), "{good}");
        }
        for bad in ["memory://host", "memory:///path", "memory://?x=1"] {
            let target = Target::parse(bad, None, Origin::Code).expect(bad);
            let error = (DRIVER.connect)(target).await.expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
