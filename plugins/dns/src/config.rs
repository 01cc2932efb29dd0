//! What this plugin says of itself, and what it takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::ProtocolConfig;
use hickory_resolver::system_conf::read_system_conf;
use waypost_core::{ConnectFuture, Driver, Error, OptionSpec, Profile, Registry, Result, Target};
use waypost_plugin_kit::{OptionReader, option};

use crate::names::Domain;
use crate::registry::DnsRegistry;

pub(crate) const PROFILE: Profile = Profile {
    driver: "dns",
    least_ttl: Duration::ZERO,
    slack: Duration::ZERO,
    writable: false,
    owned: false,
    tells_loss: false,
    native_watch: false,
    remote: true,
    names_itself: false,
    one_step: true,
    writes_at_once: 256,
};

/// DNS's row of the driver table.
pub const DRIVER: Driver = Driver {
    name: "dns",
    summary: "DNS records (SRV, DNS-SD, A, AAAA), read by their ttl",
    default_port: Some(53),
    default_address: "the name servers of /etc/resolv.conf",
    profile: PROFILE,
    options: OPTIONS,
    connect,
};

const OPTIONS: &[OptionSpec] = &[
    option(
        "record",
        "auto|srv|list|a",
        "auto",
        "which records tell of a service: SRV, a DNS-SD list of instances, A and AAAA; \
         `auto` takes the first of them that there is",
    ),
    option(
        "port",
        "1..65535",
        "",
        "port of nodes that A and AAAA records tell of; without it these are not asked for",
    ),
    option(
        "priority",
        "lowest|all",
        "lowest",
        "which SRV records are nodes: those of the lowest priority that has any, or all",
    ),
    option(
        "timeout",
        "DURATION",
        "2s",
        "longest wait for an answer of one name server, before the next is asked",
    ),
    option(
        "least",
        "DURATION",
        "1s",
        "shortest time from one reading to the next, however short the records' ttl is",
    ),
    option(
        "most",
        "DURATION",
        "60s",
        "longest time from one reading to the next, however long the records' ttl is",
    ),
];

/// Which records tell of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The first of the others that there is.
    Any,
    /// SRV records at the service's name.
    Targets,
    /// PTR records there, to instances with SRV and TXT records.
    Listed,
    /// A and AAAA records.
    Addresses,
}

/// Which SRV records are nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priorities {
    /// Those of the lowest priority that has one.
    Lowest,
    All,
}

/// What is wanted of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) shape: Shape,
    pub(crate) port: Option<u16>,
    pub(crate) priorities: Priorities,
}

/// How soon to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// A checked target.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) domain: Domain,
    pub(crate) wanted: Wanted,
    pub(crate) span: Span,
}

impl Config {
    /// Reads and checks `target`, and the system's name servers where it names none.
    pub(crate) fn read(target: &Target) -> Result<Self> {
        let reader = OptionReader::new(&DRIVER, target)?;
        if target.username().is_some() || target.password().is_some() || target.tls() {
            return Err(Error::config("DNS has no user, no password and no TLS"));
        }
        let wanted = Wanted {
            shape: shape(&reader)?,
            port: port(&reader)?,
            priorities: priorities(&reader)?,
        };
        if wanted.shape == Shape::Addresses && wanted.port.is_none() {
            return Err(Error::config(
                "`record=a` needs the option `port`: A and AAAA records tell of none",
            ));
        }
        let span = Span {
            least: reader.positive("least")?,
            most: reader.positive("most")?,
        };
        if span.least > span.most || span.least < Duration::from_millis(100) {
            let given = format!("{:?}", span.least);
            return Err(reader.fault("least", &given, "is below 100ms or above `most`"));
        }
        Ok(Self {
            domain: Domain::parse(target.path())?,
            wanted,
            span,
            timeout: reader.positive("timeout")?,
            servers: servers(target)?,
        })
    }
}

fn shape(reader: &OptionReader<'_>) -> Result<Shape> {
    match reader.text("record").unwrap_or_default() {
        "auto" => Ok(Shape::Any),
        "srv" => Ok(Shape::Targets),
        "list" => Ok(Shape::Listed),
        "a" => Ok(Shape::Addresses),
        other => Err(reader.fault("record", other, "is no kind of record")),
    }
}

fn priorities(reader: &OptionReader<'_>) -> Result<Priorities> {
    match reader.text("priority").unwrap_or_default() {
        "lowest" => Ok(Priorities::Lowest),
        "all" => Ok(Priorities::All),
        other => Err(reader.fault("priority", other, "is unknown")),
    }
}

fn port(reader: &OptionReader<'_>) -> Result<Option<u16>> {
    let Some(number) = reader.number("port")? else {
        return Ok(None);
    };
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(Some(port)),
        _ => Err(reader.fault("port", &number.to_string(), "is out of range")),
    }
}

fn servers(target: &Target) -> Result<Vec<SocketAddr>> {
    if target.addresses().is_empty() {
        return system();
    }
    let endpoints = target.endpoints("", 53)?;
    let parsed = endpoints.iter().map(|endpoint| {
        endpoint.parse().map_err(|_| {
            Error::config(format!(
                "name server {endpoint:?} is no IP address; somebody would have to resolve it first"
            ))
        })
    });
    parsed.collect()
}

fn system() -> Result<Vec<SocketAddr>> {
    let (config, _) = read_system_conf().map_err(|told| {
        Error::config("no name server is given, and the system's cannot be read").with_source(told)
    })?;
    let all = config.name_servers().iter().filter_map(|server| {
        let datagrams = |protocol: &ProtocolConfig| matches!(protocol, ProtocolConfig::Udp);
        let mut connections = server.connections.iter();
        let found = connections.find(|connection| datagrams(&connection.protocol))?;
        Some(SocketAddr::new(server.ip, found.port))
    });
    Ok(all.collect())
}

fn connect(target: Target) -> ConnectFuture {
    let open = || -> Result<Arc<dyn Registry>> {
        Ok(Arc::new(DnsRegistry::open(Config::read(&target)?)?))
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
    fn a_missing_port_is_53_and_a_url_and_an_address_mean_the_same() {
        let url = read("dns://10.0.0.53:5353,10.0.0.54,[fd00::53]").expect("url");
        let list = "10.0.0.53:5353,10.0.0.54,[fd00::53]";
        let target = Target::parse("dns", Some(list), Origin::Code).expect("target");
        let apart = Config::read(&target).expect("apart");
        assert_eq!(url.servers, apart.servers);
        let shown: Vec<_> = url.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.53:5353", "10.0.0.54:53", "[fd00::53]:53"]);
        assert_eq!(url.wanted.shape, Shape::Any);
        assert_eq!(url.span.least, Duration::from_secs(1));
    }

    #[test]
    fn the_path_is_the_domain() {
        let config = read("dns://10.0.0.53/example.org?record=a&port=8080").expect("config");
        assert_eq!(config.domain, Domain::parse("example.org").expect("domain"));
        assert_eq!(config.wanted.port, Some(8080));
    }

    #[test]
    fn the_readme_has_every_option_as_it_is() {
        for option in OPTIONS {
            let value = option.value.replace('|', "\\|");
            let default = match option.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            let row = format!(
                "| `{}` | {value} | {default} | {} |",
                option.key, option.help
            );
            let row = row.replace("|  |", "| |");
            let readme = include_str!("../README.md");
            assert!(readme.contains(&row), "the README lacks {row}");
        }
    }

    #[test]
    fn wrong_targets_are_refused_with_the_rule() {
        for (url, needle) in [
            ("dns://ns.example.org", "no IP address"),
            ("dns://10.0.0.53:0", "no valid port"),
            ("dns://10.0.0.53/a..b", "no domain"),
            ("dns://10.0.0.53?record=mx", "no kind of record"),
            ("dns://10.0.0.53?record=a", "needs the option `port`"),
            ("dns://10.0.0.53?port=0", "out of range"),
            ("dns://10.0.0.53?port=65536", "out of range"),
            ("dns://10.0.0.53?priority=some", "is unknown"),
            ("dns://10.0.0.53?timeout=0", "no time at all"),
            ("dns://10.0.0.53?least=2m", "above `most`"),
            ("dns://10.0.0.53?least=10ms", "below 100ms"),
            ("dns://10.0.0.53?recrd=a", "did you mean `record`"),
            ("dns://ann@10.0.0.53", "no user"),
        ] {
            let error = read(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains(needle), "{url}: {error}");
        }
        let https = Target::parse("dns", Some("https://10.0.0.53"), Origin::Code).expect("target");
        assert!(Config::read(&https).is_err());
    }
}
