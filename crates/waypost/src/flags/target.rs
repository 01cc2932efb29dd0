//! From flags to a [`Target`].

use waypost_core::{Error, Origin, Result, Secret, Target};

use super::{Flags, Given};

impl Flags {
    /// The registry that was chosen; `default` (a name or a URL) where nobody chose one.
    ///
    /// Each part is judged by where it came from: a password on the command line is refused, one in
    /// the environment or in a file is taken.
    ///
    /// ```
    /// use waypost::Origin;
    /// use waypost::flags::{Flags, Given};
    ///
    /// let mut flags = Flags::default();
    /// assert_eq!(flags.target("file")?.driver(), "file");
    /// flags.registry_address = Some(Given::new("10.0.0.1,10.0.0.2", Origin::Flag));
    /// assert_eq!(flags.target("etcd")?.to_string(), "etcd://10.0.0.1,10.0.0.2");
    /// # Ok::<(), waypost::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) naming the part and the rule it breaks.
    pub fn target(&self, default: &str) -> Result<Target> {
        let mut target = self.place(default)?;
        for (key, value) in [
            ("ca", &self.registry_tls_ca),
            ("cert", &self.registry_tls_cert),
            ("key", &self.registry_tls_key),
        ] {
            if let Some(path) = value {
                if target.options().get(key).is_some_and(|other| other != path) {
                    return Err(Error::config(format!(
                        "option `{key}` of the registry's URL and --registry_tls_{key} differ; use one"
                    )));
                }
                target = target.with_option(key, path);
            }
        }
        self.with_login(target)
    }

    /// Driver, addresses, path and options.
    fn place(&self, default: &str) -> Result<Target> {
        let code = Given::new(default, Origin::Code);
        let registry = self.registry.as_ref().unwrap_or(&code);
        let is_url = registry.text.contains("://");
        let Some(address) = &self.registry_address else {
            return Target::parse(&registry.text, None, registry.origin);
        };
        match (is_url, registry.origin, address.origin) {
            // A URL that was typed is meant as it is, whatever the shell has set.
            (true, Origin::Flag, Origin::Environment) => {
                Target::parse(&registry.text, None, registry.origin)
            }
            // Addresses move the URL that the program's code names, and keep its path and options.
            (true, Origin::Code, _) => {
                let target = Target::parse(&registry.text, None, registry.origin)?;
                let moved = Target::parse(target.driver(), Some(&address.text), address.origin)?;
                let mut target = target.with_addresses(moved.addresses());
                if let (Some(username), Some(password)) = (moved.username(), moved.password()) {
                    target = target.with_credentials(username, password.clone());
                }
                Ok(target)
            }
            _ => Target::parse(&registry.text, Some(&address.text), address.origin),
        }
    }

    fn with_login(&self, target: Target) -> Result<Target> {
        let username = self.registry_username.as_deref().or(target.username());
        let Some(password) = self.password()?.or_else(|| target.password().cloned()) else {
            return match &self.registry_username {
                Some(name) => Err(Error::config(format!(
                    "registry user {name:?} has no password; give it in MICRO_REGISTRY_PASSWORD \
                     or with --registry_password_file"
                ))),
                None => Ok(target),
            };
        };
        let Some(username) = username.map(str::to_owned) else {
            return Err(Error::config(
                "a registry password is given without a user; name one with --registry_username",
            ));
        };
        Ok(target.with_credentials(username, password))
    }

    fn password(&self) -> Result<Option<Secret>> {
        let Some(path) = &self.registry_password_file else {
            return Ok(self.registry_password.clone());
        };
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::config(format!("cannot read --registry_password_file {path:?}"))
                .with_source(cause)
        })?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(Error::config(format!(
                "--registry_password_file {path:?} is empty"
            )));
        }
        Ok(Some(Secret::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(registry: Option<(&str, Origin)>, address: Option<(&str, Origin)>) -> Flags {
        let given = |(text, origin): (&str, Origin)| Given::new(text, origin);
        Flags {
            registry: registry.map(given),
            registry_address: address.map(given),
            ..Flags::default()
        }
    }

    #[test]
    fn parts_join_by_where_they_came_from() {
        use Origin::{Environment, Flag};
        for (registry, address, expected) in [
            (None, None, "etcd://code:1/p"),
            (
                Some(("etcd", Flag)),
                Some(("a,b", Environment)),
                "etcd://a,b",
            ),
            (
                Some(("etcd", Environment)),
                Some(("a,b", Flag)),
                "etcd://a,b",
            ),
            (
                Some(("etcd://a", Flag)),
                Some(("b", Environment)),
                "etcd://a",
            ),
            (None, Some(("b:2", Flag)), "etcd://b:2/p"),
            (
                Some(("etcd", Flag)),
                Some(("ann:pw@b", Environment)),
                "etcd://ann@b",
            ),
        ] {
            let target = flags(registry, address)
                .target("etcd://code:1/p")
                .expect(expected);
            assert_eq!(target.to_string(), expected);
        }
    }

    #[test]
    fn a_url_with_addresses_apart_and_a_password_in_a_flag_are_refused() {
        use Origin::{Environment, Flag};
        for (registry, address) in [
            (Some(("etcd://a", Flag)), Some(("b", Flag))),
            (Some(("etcd://a", Environment)), Some(("b", Flag))),
            (Some(("etcd://a", Environment)), Some(("b", Environment))),
            (Some(("etcd://ann:S3CR3T@a", Flag)), None),
            (Some(("etcd", Environment)), Some(("ann:S3CR3T@a", Flag))),
        ] {
            let fault = flags(registry, address)
                .target("file")
                .expect_err("refused");
            assert!(!fault.chain().contains("S3CR3T"), "{fault}");
        }
    }

    #[test]
    fn a_login_needs_both_halves_and_takes_the_file_first() {
        let mut given = flags(Some(("etcd", Origin::Flag)), None);
        given.registry_username = Some("ann".to_owned());
        assert!(given.target("file").is_err(), "no password");
        given.registry_password = Some(Secret::new("from the environment"));
        let target = given.target("file").expect("both");
        assert_eq!(
            target.password().map(Secret::expose),
            Some("from the environment")
        );

        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "from the file\n").expect("write");
        given.registry_password_file = Some(file.path().display().to_string());
        let target = given.target("file").expect("both");
        assert_eq!(target.password().map(Secret::expose), Some("from the file"));
        given.registry_username = None;
        assert!(given.target("file").is_err(), "no user");
        given.registry_password_file = Some("/nowhere".to_owned());
        let fault = given.target("file").expect_err("no file").to_string();
        assert!(fault.contains("/nowhere"), "{fault}");
    }

    #[test]
    fn tls_paths_become_options_of_the_target() {
        let mut given = flags(Some(("etcd://a?ca=/a.pem", Origin::Flag)), None);
        given.registry_tls_key = Some("/key.pem".to_owned());
        let target = given.target("file").expect("target");
        assert_eq!(target.options()["key"], "/key.pem");
        given.registry_tls_ca = Some("/b.pem".to_owned());
        assert!(given.target("file").is_err(), "two different authorities");
    }
}
