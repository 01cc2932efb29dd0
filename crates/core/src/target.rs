//! Which registry to use, as a person writes it.

mod part;

use std::collections::BTreeMap;
use std::fmt;

use crate::{Error, Result, Secret};

use self::part::{decode, endpoint, is_secret};

/// What may stand before an address.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// Where a target's text came from. A password on a command line is seen by every process of the
/// machine, so that one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag.
    Flag,
    /// An environment variable.
    Environment,
    /// A configuration file.
    File,
    /// The program itself.
    Code,
}

/// A parsed registry choice: driver, addresses, path, options, credentials.
///
/// Written as a name with addresses apart (`etcd` and `10.0.0.1:2379,10.0.0.2:2379`) or as one
/// URL (`etcd://10.0.0.1,10.0.0.2/prefix?option=value`). `url::Url` refuses several hosts, hence
/// this small parser. Values may be percent-encoded; `https://` before an address asks for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    driver: String,
    addresses: Vec<String>,
    path: String,
    options: BTreeMap<String, String>,
    username: Option<String>,
    password: Option<Secret>,
    tls: bool,
}

impl Target {
    /// A target without address, path or options: the driver's defaults.
    ///
    /// # Errors
    /// As [`Target::parse`].
    pub fn new(driver: &str) -> Result<Self> {
        if driver.is_empty() {
            return Err(Error::config("the registry's name is empty"));
        }
        if driver.contains([':', '@', '/']) {
            // Nothing of it is shown: a login may stand anywhere in it.
            return Err(Error::config(
                "the registry is neither a name nor a URL such as etcd://10.0.0.1:2379",
            ));
        }
        let odd = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if driver.len() > 32 || driver.contains(odd) {
            return Err(Error::config(format!(
                "registry {:?} is no name; lower-case letters, digits, `-` and `_` are allowed",
                driver.chars().take(40).collect::<String>()
            )));
        }
        Ok(Self {
            driver: driver.to_owned(),
            addresses: Vec::new(),
            path: String::new(),
            options: BTreeMap::new(),
            username: None,
            password: None,
            tls: false,
        })
    }

    /// Parses `registry` (a name or a URL) with `addresses` given apart.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the part and the rule it breaks; a
    /// secret is never part of the message.
    pub fn parse(registry: &str, addresses: Option<&str>, origin: Origin) -> Result<Self> {
        let Some((scheme, rest)) = registry.split_once("://") else {
            let mut target = Self::new(registry)?;
            if let Some(addresses) = addresses {
                target.take_addresses(addresses, origin)?;
            }
            return Ok(target);
        };
        let mut target = Self::new(scheme)?;
        if addresses.is_some_and(|addresses| !addresses.is_empty()) {
            return Err(Error::config(format!(
                "the registry is given as a {scheme}:// URL and addresses are given apart; use one"
            )));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if !authority.is_empty() && rest.contains('@') {
            // Else the rest of a password with a `/` in it would pass for the path, and be shown.
            return Err(Error::config(
                "an `@` stands behind the first `/` or `?` of the URL; write %2F, %3F and %40 for \
                 them in a login, in the path and in options",
            ));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        target.path = decode(path, "path")?;
        target.take_addresses(authority, origin)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(key, "option")?;
            let value = decode(value, &key)?;
            match key.as_str() {
                "username" => target.username = Some(value),
                "password" => target.set_password(value, origin)?,
                _ => {
                    if target.options.contains_key(&key) {
                        return Err(Error::config(format!("option {key:?} is given twice")));
                    }
                    target.options.insert(key, value);
                }
            }
        }
        Ok(target)
    }

    /// The options, without the value of any that sounds like a secret: no driver takes one there,
    /// but people try (`token=…`), and would find it in a log.
    fn shown_options(&self) -> BTreeMap<&str, &str> {
        let shown = |(key, value)| match is_secret(key) {
            true => (key, "[redacted]"),
            false => (key, value),
        };
        let pairs = self.options.iter();
        pairs
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .map(shown)
            .collect()
    }

    fn take_addresses(&mut self, list: &str, origin: Origin) -> Result<()> {
        let list = match list.rsplit_once('@') {
            Some((login, list)) => {
                let scheme = SCHEMES.iter().find(|scheme| login.starts_with(**scheme));
                let scheme = scheme.copied().unwrap_or_default();
                self.take_login(login.strip_prefix(scheme).unwrap_or(login), origin)?;
                format!("{scheme}{list}")
            }
            None => list.to_owned(),
        };
        let mut plain = false;
        for address in list.split(',').map(str::trim).filter(|a| !a.is_empty()) {
            let address = if let Some(address) = address.strip_prefix("https://") {
                self.tls = true;
                address.trim_end_matches('/')
            } else if let Some(address) = address.strip_prefix("http://") {
                plain = true;
                address.trim_end_matches('/')
            } else {
                address
            };
            self.addresses.push(decode(address, "address")?);
        }
        if self.tls && plain {
            return Err(Error::config(
                "addresses mix http:// and https://; use one for all",
            ));
        }
        Ok(())
    }

    /// Takes `NAME[:PASSWORD]`, which stands before the first address.
    fn take_login(&mut self, login: &str, origin: Origin) -> Result<()> {
        // Else an address before it would pass for a part of it, and never be dialled.
        if login.contains([',', '/']) {
            return Err(Error::config(
                "a login stands before the first address, with %2C for `,` and %2F for `/` in it",
            ));
        }
        let (name, password) = match login.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (login, None),
        };
        self.username = Some(decode(name, "user name")?);
        match password {
            Some(password) => self.set_password(decode(password, "password")?, origin),
            None => Ok(()),
        }
    }

    fn set_password(&mut self, password: String, origin: Origin) -> Result<()> {
        if origin == Origin::Flag {
            return Err(Error::config(
                "a password on the command line can be read by every process of this machine; \
                 give it in the environment or in a file",
            ));
        }
        self.password = Some(Secret::new(password));
        Ok(())
    }

    /// Sets an option as if it stood in the URL; one that is there already stays.
    #[must_use]
    pub fn with_option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.entry(key.into()).or_insert(value.into());
        self
    }

    /// Replaces the addresses.
    #[must_use]
    pub fn with_addresses(
        mut self,
        addresses: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the path.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets user name and password.
    #[must_use]
    pub fn with_credentials(mut self, username: impl Into<String>, password: Secret) -> Self {
        self.username = Some(username.into());
        self.password = Some(password);
        self
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The addresses as written, without scheme; what they mean is the driver's business.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The path with its leading `/`, or an empty text.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The options, by key.
    #[must_use]
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// The user name, if one is given.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, if one is given.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Whether an address was written with `https://`.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The addresses as `host:port`, with `default_port` where one names none; `default` when no
    /// address is given.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with the address and the rule it breaks.
    pub fn endpoints(&self, default: &str, default_port: u16) -> Result<Vec<String>> {
        if self.addresses.is_empty() {
            return Ok(vec![default.to_owned()]);
        }
        self.addresses
            .iter()
            .map(|address| endpoint(address, default_port))
            .collect()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("driver", &self.driver)
            .field("addresses", &self.addresses)
            .field("path", &self.path)
            .field("options", &self.shown_options())
            .field("username", &self.username)
            .field("password", &self.password)
            .field("tls", &self.tls)
            .finish()
    }
}

/// The target as a URL, without any secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.driver)?;
        if let Some(username) = &self.username {
            write!(f, "{username}@")?;
        }
        write!(f, "{}{}", self.addresses.join(","), self.path)?;
        for (n, (key, value)) in self.shown_options().into_iter().enumerate() {
            write!(f, "{}{key}={value}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
