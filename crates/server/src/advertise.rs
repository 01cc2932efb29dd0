//! The address under which callers find a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use waypost_core::{Address, Error, Profile, Result, host_port, route_to};

/// How the advertised address is found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advertise {
    /// What the program says: `host:port`, or a host alone, which gets the listener's port.
    pub(crate) explicit: Option<String>,
    /// Where the registry is, as `host:port`: the way there shows which interface is the right one.
    pub(crate) towards: Vec<String>,
}

impl Advertise {
    /// Checks what can be checked before a port is known.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.explicit {
            Some(explicit) => with_port(explicit, 1).map(drop),
            None => Ok(()),
        }
    }

    /// The address to register for a listener on `bound`: what the program says; else the host that
    /// is listened on, where that is a specific one; else loopback, where the registry is on this
    /// machine only; else this machine's address on the way to the registry. Nothing is guessed
    /// from the list of interfaces: the first private address is often that of a bridge.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn address(self, bound: SocketAddr, profile: &Profile) -> Result<Address> {
        if let Some(explicit) = &self.explicit {
            return with_port(explicit, bound.port());
        }
        if !bound.ip().to_canonical().is_unspecified() {
            return Address::new(&bound.to_string());
        }
        let ip = if profile.remote {
            way(self.towards, profile.driver).await?
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        };
        Address::new(&SocketAddr::new(ip, bound.port()).to_string())
    }
}

/// `text` as it is, or with `port` where it names none.
fn with_port(text: &str, port: u16) -> Result<Address> {
    let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let bracketed = text.starts_with('[') && text.ends_with(']');
    let has_port = !bare_v6 && !bracketed && text.contains(':');
    let address = if has_port {
        Address::new(text)
    } else {
        Address::new(&host_port(text, port))
    };
    address.map_err(|error| Error::config(format!("advertised {error}")))
}

async fn way(towards: Vec<String>, driver: &str) -> Result<IpAddr> {
    let shown = towards.join(",");
    if towards.is_empty() {
        return Err(Error::config(format!(
            "the service listens on every interface, and callers need one address: name it with \
             .advertise(..) or --server_advertise, listen on a specific host, or say where {driver} \
             is with .registry_address(..)"
        )));
    }
    // Looking up a name blocks.
    let found = tokio::task::spawn_blocking(move || towards.iter().find_map(|end| route_to(end)));
    found.await.ok().flatten().ok_or_else(|| {
        Error::config(format!(
            "no address of this machine leads to {shown}; name the one to register with \
             .advertise(..) or --server_advertise"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PROFILE: Profile = Profile {
        driver: "etcd",
        least_ttl: Duration::ZERO,
        slack: Duration::ZERO,
        writable: true,
        owned: false,
        tells_loss: false,
        native_watch: true,
        remote: true,
        names_itself: true,
        one_step: true,
        writes_at_once: 256,
    };

    async fn found(explicit: Option<&str>, towards: &[&str], bound: &str) -> Result<String> {
        let advertise = Advertise {
            explicit: explicit.map(str::to_owned),
            towards: towards.iter().copied().map(str::to_owned).collect(),
        };
        advertise.check()?;
        let bound = bound.parse().expect("socket address");
        let address = advertise.address(bound, &PROFILE).await?;
        Ok(address.to_string())
    }

    #[tokio::test]
    async fn explicit_wins_over_the_listener_and_that_over_the_route() {
        for (explicit, towards, bound, expected) in [
            (
                Some("a.example:80"),
                "127.0.0.1:1",
                "10.0.0.1:9",
                "a.example:80",
            ),
            (Some("a.example"), "127.0.0.1:1", "0.0.0.0:9", "a.example:9"),
            (Some("::1"), "127.0.0.1:1", "0.0.0.0:9", "[::1]:9"),
            (Some("[::1]"), "127.0.0.1:1", "0.0.0.0:9", "[::1]:9"),
            (None, "127.0.0.1:1", "10.0.0.1:9", "10.0.0.1:9"),
            (None, "127.0.0.1:1", "0.0.0.0:9", "127.0.0.1:9"),
            (None, "127.0.0.2:1", "[::]:9", "127.0.0.1:9"),
        ] {
            let found = found(explicit, &[towards], bound).await;
            assert_eq!(found.expect(expected), expected);
        }
    }

    #[tokio::test]
    async fn an_address_nobody_could_dial_is_refused_with_its_rule() {
        for (explicit, towards, told) in [
            (Some("0.0.0.0:80"), &["127.0.0.1:1"][..], "unspecified"),
            (Some("0.0.0.0"), &["127.0.0.1:1"], "unspecified"),
            (Some("::"), &["127.0.0.1:1"], "unspecified"),
            (Some("a:0"), &["127.0.0.1:1"], "port \"0\""),
            (Some(""), &["127.0.0.1:1"], "no host"),
            (Some("http://a:80"), &["127.0.0.1:1"], "URL"),
            (None, &[], "etcd is with .registry_address"),
            (
                None,
                &["no port"],
                "no address of this machine leads to no port",
            ),
        ] {
            let error = found(explicit, towards, "0.0.0.0:9").await.expect_err(told);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn a_registry_of_this_machine_alone_means_loopback() {
        let profile = Profile {
            remote: false,
            ..PROFILE
        };
        let bound = "0.0.0.0:9".parse().expect("socket address");
        let address = Advertise::default().address(bound, &profile).await;
        assert_eq!(address.expect("loopback").as_str(), "127.0.0.1:9");
    }
}
