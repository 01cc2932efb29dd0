//! The table of known registries, and the value that is handed down to choose from it.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::{Deadlines, Driver, Error, Registry, Result, Target};

use crate::nearest;

/// One row: a registry that the house knows, compiled in or not.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    driver: Option<&'static Driver>,
}

macro_rules! row {
    ($name:literal, $driver:path) => {
        Row {
            name: $name,
            #[cfg(feature = $name)]
            driver: Some(&$driver),
            #[cfg(not(feature = $name))]
            driver: None,
        }
    };
}

/// Every registry there is. Feature, folder, flag value and URL scheme are the same word.
const KNOWN: &[Row] = &[
    row!("memory", waypost_memory::DRIVER),
    row!("file", waypost_file::DRIVER),
    row!("static", waypost_static::DRIVER),
    row!("dns", waypost_dns::DRIVER),
    row!("etcd", waypost_etcd::DRIVER),
    row!("consul", waypost_consul::DRIVER),
    row!("zookeeper", waypost_zookeeper::DRIVER),
];

/// How long one registry operation may take unless told otherwise.
const OPERATION_LIMIT: Duration = Duration::from_secs(5);

/// The registries that a program can choose from at run time.
///
/// A value, not a global: a program hands it down to whatever connects. A registry from another
/// crate joins with [`Drivers::with`] and is then chosen by its name like those of the house.
///
#[cfg_attr(feature = "memory", doc = "```")]
#[cfg_attr(not(feature = "memory"), doc = "```no_run")]
/// use waypost::{Drivers, Target};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> waypost::Result<()> {
/// let registry = Drivers::builtin().connect(&Target::new("memory")?).await?;
/// assert_eq!(registry.profile().driver, "memory");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Drivers {
    rows: Vec<Row>,
    operation_limit: Duration,
}

impl Default for Drivers {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Drivers {
    /// The registries of the house that are compiled in.
    #[must_use]
    pub fn builtin() -> Self {
        Self {
            rows: KNOWN.to_vec(),
            operation_limit: OPERATION_LIMIT,
        }
    }

    /// Adds a registry. One of the same name that was there before is replaced.
    #[must_use]
    pub fn with(mut self, driver: &'static Driver) -> Self {
        self.rows.retain(|row| row.name != driver.name);
        self.rows.push(Row {
            name: driver.name,
            driver: Some(driver),
        });
        self
    }

    /// Bounds each operation of a connected registry to `limit` (default 5 s).
    #[must_use]
    pub fn with_operation_limit(mut self, limit: Duration) -> Self {
        self.operation_limit = limit;
        self
    }

    /// The registries that can be chosen, in the order of the table.
    pub fn available(&self) -> impl Iterator<Item = &'static Driver> + '_ {
        self.rows.iter().filter_map(|row| row.driver)
    }

    /// The driver called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) that names the feature to compile in, or the
    /// name that may have been meant, and always those that are available.
    pub fn get(&self, name: &str) -> Result<&'static Driver> {
        let row = self.rows.iter().find(|row| row.name == name);
        if let Some(driver) = row.and_then(|row| row.driver) {
            return Ok(driver);
        }
        let available = self.available().map(|driver| driver.name);
        let available = available.collect::<Vec<_>>().join(", ");
        if row.is_some() {
            return Err(Error::config(format!(
                "registry `{name}` is not compiled into this binary; \
                 rebuild with `--features {name}` (available: {available})"
            )));
        }
        let meant = nearest(name, self.rows.iter().map(|row| row.name))
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        Err(Error::config(format!(
            "unknown registry `{name}`{meant} (available: {available})"
        )))
    }

    /// Where the registry of `target` is: its addresses, or its driver's default, as `host:port`; none
    /// where it is on this machine alone. What a service takes to find the interface that leads
    /// there.
    ///
    /// # Errors
    /// As [`Drivers::get`], and [`ErrorKind::Config`](crate::ErrorKind::Config) for an address that
    /// is none.
    pub fn endpoints(&self, target: &Target) -> Result<Vec<String>> {
        let driver = self.get(target.driver())?;
        if !driver.profile.remote {
            return Ok(Vec::new());
        }
        target.endpoints(driver.default_address, driver.default_port.unwrap_or(1))
    }

    /// Makes the registry that `target` describes. Each of its operations ends with
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after the operation limit.
    ///
    /// # Errors
    /// As [`Drivers::get`], and [`ErrorKind::Config`](crate::ErrorKind::Config) for an option or an
    /// address that the driver refuses. A registry that is down is no error here: it shows with the
    /// first operation.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn connect(&self, target: &Target) -> Result<Arc<dyn Registry>> {
        let driver = self.get(target.driver())?;
        let registry = (driver.connect)(target.clone())
            .await
            .map_err(|error| error.with_driver(driver.name))?;
        Ok(Arc::new(Deadlines::new(registry, self.operation_limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_file() -> Drivers {
        const FILE: Driver = Driver {
            name: "file",
            summary: "",
            default_port: None,
            default_address: "",
            profile: waypost_core::Profile {
                driver: "file",
                least_ttl: Duration::from_secs(1),
                slack: Duration::ZERO,
                writable: true,
                owned: false,
                tells_loss: false,
                native_watch: false,
                remote: false,
                names_itself: true,
                one_step: true,
                writes_at_once: 256,
            },
            options: &[],
            connect: |_| Box::pin(std::future::ready(Err(Error::unavailable("a test")))),
        };
        let rows = KNOWN
            .iter()
            .map(|row| Row {
                driver: None,
                ..*row
            })
            .collect();
        Drivers {
            rows,
            operation_limit: OPERATION_LIMIT,
        }
        .with(&FILE)
    }

    #[test]
    fn a_registry_that_is_not_compiled_in_names_its_feature_and_what_is_there() {
        assert_eq!(
            only_file().get("etcd").expect_err("not there").to_string(),
            "registry `etcd` is not compiled into this binary; \
             rebuild with `--features etcd` (available: file)"
        );
    }

    #[test]
    fn an_unknown_registry_names_the_nearest() {
        let error = only_file().get("ectd").expect_err("unknown").to_string();
        assert_eq!(
            error,
            "unknown registry `ectd`; did you mean `etcd`? (available: file)"
        );
        let error = only_file().get("xyz").expect_err("unknown").to_string();
        assert_eq!(error, "unknown registry `xyz` (available: file)");
    }

    #[tokio::test]
    async fn a_failed_connect_names_its_driver() {
        let target = Target::new("file").expect("target");
        let error = only_file().connect(&target).await.expect_err("down");
        assert_eq!(error.to_string(), "file: a test");
    }

    #[test]
    fn every_row_that_is_compiled_in_is_called_as_its_driver() {
        for row in KNOWN {
            if let Some(driver) = row.driver {
                assert_eq!((row.name, row.name), (driver.name, driver.profile.driver));
            }
        }
    }
}
