//! What this plugin says of itself, and what it takes.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::{
    ConnectFuture, Driver, Error, OptionSpec, Profile, Registry, Result, Secret, Target,
};
use waypost_plugin_kit::{OptionReader, option, tls};

use crate::registry::ConsulRegistry;

pub(crate) const PROFILE: Profile = Profile {
    driver: "consul",
    least_ttl: Duration::from_secs(1),
    // An agent's timers and the way from it to the servers: 0.1 s as measured, with room.
    slack: Duration::from_secs(1),
    writable: true,
    owned: false,
    tells_loss: true,
    native_watch: true,
    remote: true,
    names_itself: false,
    one_step: true,
    // An agent writes one after the other; of a hundred that queued up at each of their requests none
    // would be through before all are.
    writes_at_once: 4,
};

/// Longest ttl granted.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Consul's row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "consul",
    summary: "Consul agents (HTTP API); shares its services with go-micro",
    default_port: Some(8500),
    default_address: "127.0.0.1:8500",
    profile: PROFILE,
    options: OPTIONS,
    connect,
};

const OPTIONS: &[OptionSpec] = &[
    tls::CA,
    tls::CERT,
    tls::KEY,
    tls::TLS,
    option(
        "token_file",
        "PATH",
        "",
        "file that holds the ACL token; the password of the address means the same",
    ),
    option(
        "connect_timeout",
        "DURATION",
        "1s",
        "longest wait for a connection to one agent",
    ),
    option(
        "timeout",
        "DURATION",
        "",
        "longest wait for an answer of one agent: 1500ms, then the next is tried; \
         2500ms when there is one only",
    ),
    option(
        "wait",
        "1s..60s",
        "6s",
        "longest that a blocking query blocks; a frozen agent is noticed \
         after this, a sixteenth of it, and `timeout`",
    ),
    option(
        "only",
        "PREFIX",
        "",
        "list and watch, when it is about all services, only those whose names begin so; \
         a token needs no rights on others then",
    ),
    option(
        "queries",
        "0..128",
        "16",
        "blocking queries of single services and records at once, a connection each; \
         what is followed beyond it shares one",
    ),
];

/// A checked target.
#[derive(Debug)]
pub(crate) struct Config {
    /// `host:port` of each agent.
    pub(crate) addresses: Vec<String>,
    pub(crate) tls: Option<tls::Material>,
    pub(crate) token: Option<Secret>,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) wait: Duration,
    pub(crate) queries: usize,
    /// What the names begin with that are meant by "all".
    pub(crate) only: String,
}

impl Config {
    /// Reads and checks `target`, and the files that it names.
    pub(crate) fn read(target: &Target) -> Result<Self> {
        let reader = OptionReader::new(&DRIVER, target)?;
        if !matches!(target.path(), "" | "/") {
            return Err(Error::config(format!(
                "Consul has no key prefix; the path {:?} means nothing",
                target.path()
            )));
        }
        let addresses = target.endpoints(DRIVER.default_address, 8500)?;
        let timeout = match reader.is_given("timeout") {
            true => reader.positive("timeout")?,
            false if addresses.len() > 1 => Duration::from_millis(1500),
            false => Duration::from_millis(2500),
        };
        let wait = reader.positive("wait")?;
        if wait < Duration::from_secs(1) || wait > Duration::from_secs(60) {
            return Err(reader.fault("wait", &format!("{wait:?}"), "is out of range"));
        }
        Ok(Self {
            addresses,
            tls: tls::Material::wanted(target, &reader)?,
            token: token(target, &reader)?,
            connect_timeout: reader.positive("connect_timeout")?,
            timeout,
            wait,
            queries: reader.count("queries", 0..=128)?,
            only: only(&reader)?,
        })
    }
}

fn token(target: &Target, reader: &OptionReader<'_>) -> Result<Option<Secret>> {
    let from_file = reader.secret_file("token_file")?;
    let token = match (from_file, target.password()) {
        (Some(_), Some(_)) => {
            return Err(Error::config(
                "the token is given twice, as the password and by option `token_file`",
            ));
        }
        (Some(token), None) => token,
        (None, Some(token)) => token.clone(),
        (None, None) if target.username().is_some_and(|name| !name.is_empty()) => {
            return Err(Error::config(
                "Consul knows no user names; a token is the password, or stands in the file that \
                 option `token_file` names",
            ));
        }
        (None, None) => return Ok(None),
    };
    // It goes into a header: a line break would begin another one.
    let graphic =
        !token.expose().is_empty() && token.expose().bytes().all(|b| b.is_ascii_graphic());
    if !graphic {
        return Err(Error::config(
            "the token is empty or has characters that are not visible ASCII, such as a line break",
        ));
    }
    Ok(Some(token))
}

fn only(reader: &OptionReader<'_>) -> Result<String> {
    let only = reader.text("only").unwrap_or_default();
    let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if only.contains(odd) {
        return Err(reader.fault("only", only, "begins no service's name"));
    }
    Ok(only.to_owned())
}

fn connect(target: Target) -> ConnectFuture {
    let open = || -> Result<Arc<dyn Registry>> {
        let config = Config::read(&target)?;
        Ok(Arc::new(ConsulRegistry::open(&config)?))
    };
    let opened = open().map_err(|error| error.with_driver(DRIVER.name));
    Box::pin(std::future::ready(opened))
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
        let config = read("consul://").expect("config");
        assert_eq!(config.addresses, ["127.0.0.1:8500"]);
        assert!(config.tls.is_none() && config.token.is_none());
        let bound = config.wait + config.wait / 16 + config.timeout;
        assert!(
            bound < Duration::from_secs(9),
            "the house's bound: {bound:?}"
        );
    }

    #[test]
    fn the_readme_has_every_option_as_it_is() {
        for option in OPTIONS {
            let value = option.value.replace('|', "\\|");
            let row = format!(
                "| `{}` | {value} | {} | {} |",
                option.key, option.default, option.help
            );
            let row = row.replace("|  |", "| |");
            let readme = include_str!("../README.md");
            assert!(readme.contains(&row), "the README lacks {row}");
        }
    }

    #[test]
    fn https_and_tls_mean_tls() {
        let https = Target::parse("consul", Some("https://a"), Origin::Code).expect("target");
        assert!(Config::read(&https).expect("config").tls.is_some());
        assert!(read("consul://a?tls=true").expect("config").tls.is_some());
        let contradiction = https.with_option("tls", "false");
        assert!(Config::read(&contradiction).is_err());
    }

    #[test]
    fn the_password_and_the_file_are_the_token() {
        let config = read("consul://:S3CR3T@a").expect("config");
        assert_eq!(config.token.as_ref().map(Secret::expose), Some("S3CR3T"));
        assert!(!format!("{config:?}").contains("S3CR3T"));
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("token");
        std::fs::write(&path, "S3CR3T\n").expect("write");
        let url = format!("consul://a?token_file={}", path.display());
        let config = read(&url).expect("config");
        assert_eq!(config.token.as_ref().map(Secret::expose), Some("S3CR3T"));
    }

    #[test]
    fn a_broken_token_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("token");
        for broken in ["S3CR3T\nX-Other: y", "S3CR3T\u{e9}", "S3C R3T", "\n"] {
            std::fs::write(&path, broken).expect("write");
            let url = format!("consul://a?token_file={}", path.display());
            let error = read(&url).expect_err(broken);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.chain().contains("S3C"), "{error}");
        }
        let target = Target::new("consul").expect("target");
        let target = target.with_credentials("", Secret::new("S3CR3T\r\n"));
        let error = Config::read(&target).expect_err("line break");
        assert!(!error.chain().contains("S3CR3T"), "{error}");
    }

    #[test]
    fn wrong_targets_are_refused_with_the_rule() {
        for (url, needle) in [
            ("consul://a/prefix", "no key prefix"),
            ("consul://a?wait=0", "is no time"),
            ("consul://a?timeout=0", "is no time"),
            ("consul://a?wait=61s", "out of range"),
            ("consul://a?queries=129", "out of range"),
            ("consul://a?only=a%2Fb", "begins no service's name"),
            ("consul://a?token_fle=x", "did you mean `token_file`"),
            ("consul://ann@a", "no user names"),
            ("consul://:x@a?token_file=/etc/hostname", "given twice"),
            ("consul://a?cert=/x.pem", "belong together"),
            ("consul://a?ca=/does/not/exist.pem", "/does/not/exist.pem"),
        ] {
            let error = read(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains(needle), "{url}: {error}");
        }
    }
}
