//! What a target says, and the driver's row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use waypost_core::{
    ConnectFuture, Driver, Error, ErrorKind, OptionSpec, Profile, Registry, Result, Secret, Target,
};
use waypost_plugin_kit::layout::Prefix;
use waypost_plugin_kit::tls::{self, Material};
use waypost_plugin_kit::{OptionReader, option};
use zookeeper_client::{Acl, Acls, AuthId, Connector, Error as Told, Permission};

use crate::error;
use crate::reach::Outlook;
use crate::registry::ZookeeperRegistry;
use crate::tls::Tls;

const PROFILE: Profile = Profile {
    driver: "zookeeper",
    // A server grants no session less than two of its ticks, which are 2 s by default.
    least_ttl: Duration::from_secs(4),
    // A session's end is rounded up to the next tick, and one second is for a busy server.
    slack: Duration::from_secs(3),
    writable: true,
    owned: true,
    tells_loss: true,
    native_watch: true,
    remote: true,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

/// ZooKeeper's row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "zookeeper",
    summary: "ZooKeeper, an ephemeral znode a record; shares its layout with go-micro",
    default_port: Some(2181),
    default_address: "127.0.0.1:2181",
    profile: PROFILE,
    options: OPTIONS,
    connect,
};

/// go-micro's root.
const DEFAULT_PREFIX: &str = "/micro-registry";
/// Longest session that is asked for; the server grants what it thinks right.
const MAX_SESSION: Duration = Duration::from_secs(24 * 3600);

const OPTIONS: &[OptionSpec] = &[
    option(
        "ca",
        "PATH",
        "",
        "PEM certificates of the authorities to trust; needed for TLS",
    ),
    tls::CERT,
    tls::KEY,
    option(
        "tls",
        "true|false",
        "false",
        "speak TLS; `https://` before an address and `ca` mean the same",
    ),
    option("username", "NAME", "", "user of the scheme `digest`"),
    option(
        "password_file",
        "PATH",
        "",
        "file that holds the user's password",
    ),
    option(
        "acl",
        "open|creator",
        "",
        "who may change what this process creates: anybody, or only its user while \
               everybody reads; `creator` with a user, else `open`",
    ),
    option(
        "server_version",
        "X.Y.Z",
        "",
        "version of an older server: needed below 3.5, saves a round trip below 3.6",
    ),
    option(
        "session_timeout",
        "DURATION",
        "30s",
        "session of a process that reads and registers nothing",
    ),
    option(
        "timeout",
        "DURATION",
        "2s",
        "how long a server may be silent before another is tried",
    ),
];

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

/// The first that creates a znode within a transaction as the client asks for it.
const TRANSACTIONS: Version = Version(3, 5, 0);

/// A checked target.
#[derive(Debug)]
pub(crate) struct Config {
    /// `host:port` of each server.
    pub(crate) addresses: Vec<String>,
    tls: Option<Tls>,
    user: Option<(String, Secret)>,
    acl: Vec<Acl>,
    version: Option<Version>,
    /// Whether the server said that it is older than `version` tells.
    found_older: AtomicBool,
    /// What the servers look like from outside.
    pub(crate) outlook: Outlook,
    pub(crate) session_timeout: Duration,
    /// How long a server may be silent.
    pub(crate) timeout: Duration,
    pub(crate) prefix: Prefix,
    /// The facts of these servers: those of old ones are others.
    pub(crate) profile: Profile,
}

impl Config {
    /// Reads and checks `target`, and the files that it names.
    pub(crate) fn read(target: &Target) -> Result<Self> {
        let reader = OptionReader::new(&DRIVER, target)?;
        let addresses = target.endpoints(DRIVER.default_address, 2181)?;
        let tls = Tls::read(target, &reader, &addresses)?;
        let user = user(&reader)?;
        let acl = acl(&reader, user.is_some())?;
        let path = match target.path() {
            "" => DEFAULT_PREFIX,
            path => path,
        };
        let prefix = Prefix::new(path)?;
        if prefix.as_str().split('/').nth(1) == Some("zookeeper") {
            return Err(Error::config("the path `/zookeeper` is the server's own"));
        }
        let version = version(&reader)?;
        let is_ancient = version.is_some_and(|version| version < TRANSACTIONS);
        Ok(Self {
            addresses,
            tls,
            user,
            acl,
            version,
            found_older: AtomicBool::new(false),
            outlook: Outlook::default(),
            session_timeout: reader.positive("session_timeout")?.min(MAX_SESSION),
            timeout: reader.positive("timeout")?,
            prefix,
            profile: Profile {
                one_step: !is_ancient,
                ..PROFILE
            },
        })
    }

    /// What opens a session of `timeout`, of nobody in particular.
    pub(crate) fn connector(&self, timeout: Duration) -> Connector {
        let mut connector = zookeeper_client::Client::connector()
            .with_session_timeout(timeout.min(MAX_SESSION))
            .with_connection_timeout(self.timeout)
            // Else an operation would hang for as long as the session was to be.
            .with_fail_eagerly();
        if let Some(Version(major, minor, patch)) = self.version {
            connector = connector.with_server_version(major, minor, patch);
        }
        match &self.tls {
            Some(tls) => connector.with_tls(tls.options.clone()),
            None => connector,
        }
    }

    /// The user as the scheme `digest` wants it.
    pub(crate) fn identity(&self) -> Option<Vec<u8>> {
        let (name, password) = self.user.as_ref()?;
        Some(format!("{name}:{}", password.expose()).into_bytes())
    }

    /// The servers as the client wants them.
    pub(crate) fn cluster(&self) -> String {
        let scheme = if self.tls.is_some() { "tcp+tls" } else { "tcp" };
        let all = self.addresses.iter();
        all.map(|address| format!("{scheme}://{address}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What TLS is spoken with; nothing where it is not.
    pub(crate) fn material(&self) -> Option<&Material> {
        self.tls.as_ref().map(|tls| &tls.material)
    }

    /// What the client told, as an error; a refusal names the servers and whom they refuse.
    pub(crate) fn translate(&self, told: &Told) -> Error {
        self.named(error::translate(told))
    }

    /// As [`Config::translate`], of a request that carried so many bytes.
    pub(crate) fn translate_write(&self, told: &Told, bytes: usize) -> Error {
        self.named(error::translate_write(told, bytes))
    }

    fn named(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Denied {
            return error;
        }
        let user = match &self.user {
            Some((name, _)) => format!("user {name:?}"),
            None => "nobody in particular".to_owned(),
        };
        let servers = self.addresses.join(",");
        Error::new(error.kind(), format!("{servers}: {error} (we are {user})"))
    }

    /// Who may do what with a znode of ours.
    pub(crate) fn acls(&self) -> Acls<'_> {
        Acls::new(&self.acl)
    }

    /// Whether the server has no recursive watches, as far as is known.
    pub(crate) fn lacks_recursive_watches(&self) -> bool {
        self.is_older_than(Version(3, 6, 0)) || self.found_older.load(Ordering::Relaxed)
    }

    /// The server turned out to have no recursive watches.
    pub(crate) fn found_no_recursive_watches(&self) {
        self.found_older.store(true, Ordering::Relaxed);
    }

    /// Whether the server neither creates a znode within a transaction as the client asks for it,
    /// nor removes watches.
    pub(crate) fn is_ancient(&self) -> bool {
        !self.profile.one_step
    }

    fn is_older_than(&self, other: Version) -> bool {
        self.version.is_some_and(|version| version < other)
    }
}

fn user(reader: &OptionReader<'_>) -> Result<Option<(String, Secret)>> {
    match reader.login()? {
        Some((name, _)) if name.is_empty() || name.contains(':') => Err(Error::config(format!(
            "user name {name:?} is empty or has a `:`"
        ))),
        login => Ok(login),
    }
}

fn acl(reader: &OptionReader<'_>, has_user: bool) -> Result<Vec<Acl>> {
    let anybody = |permission| Acl::new(permission, AuthId::anyone());
    match (reader.text("acl"), has_user) {
        (Some("open"), _) | (None, false) => Ok(vec![anybody(Permission::ALL)]),
        (Some("creator") | None, true) => Ok(vec![
            Acl::new(Permission::ALL, AuthId::authed()),
            anybody(Permission::READ),
        ]),
        (Some("creator"), false) => Err(Error::config(
            "option `acl=creator` needs a user name and a password",
        )),
        (Some(other), _) => Err(reader.fault("acl", other, "is neither `open` nor `creator`")),
    }
}

fn version(reader: &OptionReader<'_>) -> Result<Option<Version>> {
    let Some(text) = reader.text("server_version") else {
        return Ok(None);
    };
    let fault = || reader.fault("server_version", text, "is no version such as 3.4.13");
    let parts = text
        .split('.')
        .map(|part| part.parse().map_err(|_| fault()));
    match parts.collect::<Result<Vec<u32>>>()?[..] {
        [major, minor] => Ok(Some(Version(major, minor, 0))),
        [major, minor, patch] => Ok(Some(Version(major, minor, patch))),
        _ => Err(fault()),
    }
}

fn connect(target: Target) -> ConnectFuture {
    let opened = Config::read(&target)
        .map(|config| Arc::new(ZookeeperRegistry::new(config)) as Arc<dyn Registry>)
        .map_err(|error| error.with_driver(DRIVER.name));
    Box::pin(std::future::ready(opened))
}

#[cfg(test)]
mod tests {
    use waypost_core::Origin;

    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&Target::parse(url, None, Origin::Code).expect("target"))
    }

    #[test]
    fn a_bare_target_means_the_defaults() {
        let config = read("zookeeper://").expect("config");
        assert_eq!(config.cluster(), "tcp://127.0.0.1:2181");
        assert_eq!(config.prefix.as_str(), "/micro-registry");
        assert_eq!(config.session_timeout, Duration::from_secs(30));
        assert!(config.tls.is_none() && config.user.is_none());
        assert_eq!(&config.acls()[..], &Acls::anyone_all()[..]);
        assert!(!config.lacks_recursive_watches());
    }

    #[test]
    fn the_path_is_the_whole_prefix() {
        let config = read("zookeeper://a,[::1]:99/my/prefix").expect("config");
        assert_eq!(config.cluster(), "tcp://a:2181,tcp://[::1]:99");
        assert_eq!(config.prefix.as_str(), "/my/prefix");
    }

    #[test]
    fn with_a_user_only_the_creator_writes() {
        let config = read("zookeeper://ann:S3CR3T@a").expect("config");
        assert_eq!(config.acls().len(), 2);
        assert!(!format!("{config:?}").contains("S3CR3T"));
        let open = read("zookeeper://ann:S3CR3T@a?acl=open").expect("config");
        assert_eq!(&open.acls()[..], &Acls::anyone_all()[..]);
    }

    #[test]
    fn older_servers_lack_things() {
        for (version, recursive, ancient) in [
            ("3.4.13", true, true),
            ("3.5", true, false),
            ("3.5.10", true, false),
            ("3.6.0", false, false),
            ("4.0", false, false),
        ] {
            let config = read(&format!("zookeeper://a?server_version={version}")).expect(version);
            assert_eq!(config.lacks_recursive_watches(), recursive, "{version}");
            assert_eq!(config.is_ancient(), ancient, "{version}");
        }
    }

    #[test]
    fn wrong_targets_are_refused_with_the_rule() {
        for (url, needle) in [
            ("zookeeper://a?timeout=0", "is no time"),
            ("zookeeper://a?server_version=3", "is no version"),
            ("zookeeper://a?server_version=3.x", "is no version"),
            ("zookeeper://a?acl=mine", "is neither"),
            ("zookeeper://a?acl=creator", "needs a user name"),
            (
                "zookeeper://a?sesion_timeout=4",
                "did you mean `session_timeout`",
            ),
            ("zookeeper://a?tls=true", "needs option `ca`"),
            ("zookeeper://a?cert=/x.pem", "belong together"),
            (
                "zookeeper://a?ca=/does/not/exist.pem",
                "/does/not/exist.pem",
            ),
            ("zookeeper://ann@a", "has no password"),
            ("zookeeper://a?password=x", "without a user name"),
            ("zookeeper://a/p/../q", "segment"),
            ("zookeeper://a/zookeeper/x", "server's own"),
        ] {
            let error = read(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains(needle), "{url}: {error}");
        }
    }
}
