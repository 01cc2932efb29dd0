//! What this plugin says of itself, and what it takes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::{Driver, OptionSpec, Profile, Registry, Result, Target};
use waypost_plugin_kit::OptionReader;

use crate::{StaticRegistry, error, list};

pub(crate) const PROFILE: Profile = Profile {
    driver: "static",
    least_ttl: Duration::ZERO,
    slack: Duration::ZERO,
    writable: false,
    owned: false,
    tells_loss: false,
    native_watch: false,
    remote: false,
    names_itself: false,
    one_step: true,
    writes_at_once: 256,
};

/// The static registry as a row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "static",
    summary: "a fixed list, in the address or in a file",
    default_port: None,
    default_address: "",
    profile: PROFILE,
    options: &[
        OptionSpec {
            key: "file",
            value: "PATH",
            default: "",
            help: "JSON array of go-micro's services, instead of a list in the address",
        },
        OptionSpec {
            key: "relist",
            value: "DURATION",
            default: "5s",
            help: "how often a watch reads the file again",
        },
    ],
    connect: |target| {
        let options = options(&target).map_err(|error| error.with_driver(PROFILE.driver));
        Box::pin(std::future::ready(options.map(|options| {
            Arc::new(StaticRegistry::new(options)) as Arc<dyn Registry>
        })))
    },
};

/// What is in the list, and how often to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaticOptions {
    pub(crate) source: Source,
    /// How often a watch reads the file again, or confirms the list (5 s).
    pub relist: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    List(Vec<Arc<waypost_core::Instance>>),
    File(PathBuf),
}

impl StaticOptions {
    const RELIST: Duration = Duration::from_secs(5);

    /// A list of entries: `SERVICE[:VERSION]=HOST:PORT[+KEY=VALUE]…`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the entry and the rule it
    /// breaks.
    pub fn list<T: AsRef<str>>(entries: &[T]) -> Result<Self> {
        Ok(Self {
            source: Source::List(list::parse(entries)?),
            relist: Self::RELIST,
        })
    }

    /// A file with a JSON array of go-micro's services.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            source: Source::File(path.into()),
            relist: Self::RELIST,
        }
    }

    /// Sets how often a watch reads the file again, or confirms the list.
    #[must_use]
    pub const fn with_relist(mut self, relist: Duration) -> Self {
        self.relist = relist;
        self
    }
}

fn options(target: &Target) -> Result<StaticOptions> {
    let reader = OptionReader::new(&DRIVER, target)?;
    if !target.path().is_empty() || target.username().is_some() || target.tls() {
        return Err(error::no_path_or_user());
    }
    let options = match (target.addresses(), reader.path("file")) {
        ([], Some(path)) => StaticOptions::file(path),
        ([], None) => return Err(error::nothing_given()),
        (_, Some(_)) => return Err(error::both_given()),
        (entries, None) => StaticOptions::list(entries)?,
    };
    match reader.duration("relist")? {
        Some(relist) if relist < Duration::from_millis(100) => {
            Err(reader.fault("relist", &format!("{relist:?}"), "is below 100ms"))
        }
        Some(relist) => Ok(options.with_relist(relist)),
        None => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use waypost_core::{ErrorKind, Origin};

    use super::*;

    fn parsed(registry: &str, address: Option<&str>) -> Result<StaticOptions> {
        options(&Target::parse(registry, address, Origin::Code)?)
    }

    #[test]
    fn a_url_and_an_address_mean_the_same() {
        let list = "orders=10.0.0.1:80,orders:2=10.0.0.2:80+zone=a";
        let url = parsed(&format!("static://{list}"), None).expect("url");
        assert_eq!(parsed("static", Some(list)).expect("address"), url);
        let Source::List(all) = url.source else {
            panic!("a list");
        };
        assert_eq!(all.len(), 2);
        let file = parsed("static://?file=/x.json&relist=1m", None).expect("file");
        assert_eq!(
            file,
            StaticOptions::file("/x.json").with_relist(Duration::from_secs(60))
        );
    }

    #[test]
    fn wrong_targets_are_refused() {
        for (registry, address) in [
            ("static", None),
            ("static", Some("orders")),
            ("static://orders=10.0.0.1:80?file=/x.json", None),
            ("static://orders=10.0.0.1:80/path", None),
            ("static://orders=a@10.0.0.1:80", None),
            ("static://?fil=/x.json", None),
            ("static://?file=/x.json&relist=0", None),
        ] {
            let error = parsed(registry, address).expect_err(registry);
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_an_error_of_each_read() {
        let target = Target::new("static").expect("target");
        let target = target.with_option("file", "/nowhere/list.json");
        let registry = (DRIVER.connect)(target).await.expect("a process can start");
        let error = registry.services().await.expect_err("missing");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(
            error.to_string(),
            "static: services: cannot read /nowhere/list.json"
        );
    }
}
