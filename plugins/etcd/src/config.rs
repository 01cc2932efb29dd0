//! What a target says, and the driver's row.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use waypost_core::{
    ConnectFuture, Driver, Error, OptionSpec, Profile, Registry, Result, Secret, Target,
};
use waypost_plugin_kit::{OptionReader, option, tls};

use crate::layout::Layouts;
use crate::registry::EtcdRegistry;

/// etcd's row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "etcd",
    summary: "etcd (v3 API), a lease a record; shares its keys with go-micro",
    default_port: Some(2379),
    default_address: "127.0.0.1:2379",
    profile: Profile {
        driver: "etcd",
        // The server raises what is shorter to one and a half election timeouts, which are 2 s.
        least_ttl: Duration::from_secs(2),
        // Expired leases are swept twice a second, and a ttl is counted in whole seconds.
        slack: Duration::from_millis(1500),
        writable: true,
        owned: false,
        tells_loss: true,
        native_watch: true,
        remote: true,
        names_itself: true,
        one_step: true,
        writes_at_once: 256,
    },
    options: OPTIONS,
    connect,
};

const OPTIONS: &[OptionSpec] = &[
    tls::CA,
    tls::CERT,
    tls::KEY,
    tls::TLS,
    option("username", "NAME", "", "user to log in as"),
    option(
        "password_file",
        "PATH",
        "",
        "file that holds the user's password",
    ),
    option(
        "connect_timeout",
        "DURATION",
        "2s",
        "longest wait for a connection to one endpoint",
    ),
    option(
        "timeout",
        "DURATION",
        "",
        "longest wait for an answer of one endpoint: 1s, then the next is tried; 5s when there is one only",
    ),
    option(
        "streams",
        "1..64",
        "8",
        "streams that renew the leases of this process",
    ),
    option(
        "legacy",
        "true|false",
        "true",
        "find what go-micro v1 and micro v3 wrote as well; only with the default prefix",
    ),
    option(
        "domain",
        "NAME",
        "micro",
        "which domain of micro v3's layout `legacy` reads",
    ),
];

/// A connection that is silent for this long is pinged. Servers close one that is pinged every 2 s.
const PING_EVERY: Duration = Duration::from_secs(6);
/// How long a ping may stay unanswered before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// A checked target.
#[derive(Debug)]
pub(crate) struct Config {
    /// `host:port` of each endpoint.
    pub(crate) addresses: Vec<String>,
    pub(crate) tls: Option<tls::Material>,
    pub(crate) user: Option<(String, Secret)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) streams: usize,
    pub(crate) layouts: Layouts,
}

impl Config {
    /// Reads and checks `target`, and the files that it names.
    pub(crate) fn read(target: &Target) -> Result<Self> {
        let reader = OptionReader::new(&DRIVER, target)?;
        let addresses = target.endpoints(DRIVER.default_address, 2379)?;
        Ok(Self {
            tls: tls::Material::wanted(target, &reader)?,
            user: reader.login()?,
            connect_timeout: reader.positive("connect_timeout")?,
            timeout: match reader.is_given("timeout") {
                true => reader.positive("timeout")?,
                false => patience(addresses.len()),
            },
            streams: reader.count("streams", 1..=64)?,
            layouts: layouts(target, &reader)?,
            addresses,
        })
    }

    /// The client's settings for every endpoint.
    pub(crate) fn connect_options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_timeout(self.timeout)
            .with_keep_alive(PING_EVERY, PING_TIMEOUT)
            // A frozen server is invisible otherwise.
            .with_keep_alive_while_idle(true)
            // Without it a watch on a member that lost its cluster stays silent for ever.
            .with_require_leader(true);
        let Some(material) = &self.tls else {
            return options;
        };
        let mut tls = TlsOptions::new();
        tls = match &material.ca {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(ca)),
            None => tls.with_enabled_roots(),
        };
        if let Some(identity) = &material.identity {
            tls = tls.identity(Identity::from_pem(&identity.cert, &identity.key));
        }
        options.with_tls(tls)
    }

    /// An address as the client wants it.
    pub(crate) fn url(&self, address: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }
}

/// How long one endpoint may take where nothing is said. Where there is no other, asking again
/// costs the server more than waiting does.
fn patience(endpoints: usize) -> Duration {
    Duration::from_secs(if endpoints > 1 { 1 } else { 5 })
}

fn layouts(target: &Target, reader: &OptionReader<'_>) -> Result<Layouts> {
    let legacy = reader.flag("legacy")?;
    let own_prefix = !matches!(target.path(), "" | "/");
    if own_prefix {
        for key in ["legacy", "domain"] {
            if reader.is_given(key) && (key == "domain" || legacy) {
                return Err(Error::config(format!(
                    "option `{key}` goes with the default key prefix only"
                )));
            }
        }
        return Layouts::under(target.path());
    }
    if legacy {
        Layouts::with_legacy(reader.text("domain").unwrap_or("micro"))
    } else {
        Ok(Layouts::without_legacy())
    }
}

fn connect(target: Target) -> ConnectFuture {
    Box::pin(async move {
        let named = |error: Error| error.with_driver(DRIVER.name);
        let config = Config::read(&target).map_err(named)?;
        let registry = EtcdRegistry::open(config).await.map_err(named)?;
        Ok(Arc::new(registry) as Arc<dyn Registry>)
    })
}

#[cfg(test)]
mod tests {
    use waypost_core::{ErrorKind, Origin};

    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&Target::parse(url, None, Origin::Code).expect("target"))
    }

    #[test]
    fn a_bare_target_means_the_defaults() {
        let config = read("etcd://").expect("config");
        assert_eq!(config.addresses, ["127.0.0.1:2379"]);
        assert_eq!(
            (config.streams, config.timeout),
            (8, Duration::from_secs(5))
        );
        let cluster = read("etcd://a,b").expect("config");
        assert_eq!(cluster.timeout, Duration::from_secs(1));
        assert!(config.tls.is_none() && config.user.is_none());
        assert!(config.layouts.reads_legacy());
    }

    #[test]
    fn the_path_is_the_whole_prefix_and_reads_no_legacy() {
        let config = read("etcd://a,b:99/my/prefix").expect("config");
        assert_eq!(config.addresses, ["a:2379", "b:99"]);
        assert_eq!(config.url("a:2379"), "http://a:2379");
        assert_eq!(config.layouts.prefix(), "/my/prefix");
        assert!(!config.layouts.reads_legacy());
    }

    #[test]
    fn https_and_tls_mean_tls() {
        for url in ["etcd://https%3A%2F%2Fa", "etcd://a?tls=true"] {
            let target = match url {
                "etcd://a?tls=true" => Target::parse(url, None, Origin::Code),
                _ => Target::parse("etcd", Some("https://a"), Origin::Code),
            };
            let config = Config::read(&target.expect("target")).expect("config");
            assert_eq!(config.url("a:2379"), "https://a:2379");
        }
    }

    #[test]
    fn wrong_targets_are_refused_with_the_rule() {
        for (url, needle) in [
            ("etcd://a?timeout=0", "is no time"),
            ("etcd://a?streams=0", "out of range"),
            ("etcd://a?streams=65", "out of range"),
            ("etcd://a?stream=4", "did you mean `streams`"),
            ("etcd://a?cert=/x.pem", "belong together"),
            ("etcd://a?ca=/does/not/exist.pem", "/does/not/exist.pem"),
            ("etcd://ann@a", "has no password"),
            ("etcd://a?password=x", "without a user name"),
            ("etcd://a/p/../q", "segment"),
            ("etcd://a/p?legacy=true", "default key prefix"),
            ("etcd://a/p?domain=d", "default key prefix"),
            ("etcd://a?domain=a%2Fb", "domain"),
        ] {
            let error = read(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains(needle), "{url}: {error}");
        }
    }

    #[test]
    fn the_readme_has_the_drivers_table() {
        let readme = include_str!("../README.md");
        for option in DRIVER.options {
            let (key, value) = (option.key, option.value.replace('|', "\\|"));
            let row = format!(
                "| `{key}` | {value} | {} | {} |",
                option.default, option.help
            );
            assert!(readme.contains(&row.replace("|  |", "| |")), "{row}");
        }
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let config = read("etcd://ann:S3CR3T@a").expect("config");
        assert!(!format!("{config:?}").contains("S3CR3T"));
    }
}
