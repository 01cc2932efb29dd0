//! From flags to a service.

use waypost_core::Result;
use waypost_server::ServiceBuilder;

use super::Flags;
use crate::Drivers;

impl Flags {
    /// What was given by flags and environment, over what the program says of its service:
    /// `--server_name`, `--server_version`, `--server_id`, `--server_address`,
    /// `--server_advertise`, `--server_metadata`, `--register_ttl`, `--register_interval`. What
    /// nobody gave stays as the program has it.
    ///
    /// ```
    /// use waypost::flags::Flags;
    /// use waypost::server::Service;
    ///
    /// let mut flags = Flags::default();
    /// flags.server_version = Some("1.3.0".to_owned());
    /// let service = flags.apply(Service::builder("greeter").version("1.2.0"));
    /// ```
    #[must_use]
    pub fn apply(&self, mut service: ServiceBuilder) -> ServiceBuilder {
        type Set = fn(ServiceBuilder, String) -> ServiceBuilder;
        let texts: [(&Option<String>, Set); 5] = [
            (&self.server_name, |service, name| service.name(name)),
            (&self.server_version, |service, version| {
                service.version(version)
            }),
            (&self.server_id, |service, id| service.id(id)),
            (&self.server_address, |service, address| {
                service.address(address)
            }),
            (&self.server_advertise, |service, address| {
                service.advertise(address)
            }),
        ];
        for (given, set) in texts {
            if let Some(given) = given {
                service = set(service, given.clone());
            }
        }
        for (key, value) in self.server_metadata.iter().flatten() {
            service = service.metadata(key, value);
        }
        if let Some(ttl) = self.register_ttl {
            service = service.register_ttl(ttl);
        }
        if let Some(interval) = self.register_interval {
            service = service.register_interval(interval);
        }
        service
    }

    /// As [`Flags::apply`], and connects to the registry that was chosen, `default` where nobody
    /// chose one. The way to the registry shows which address of this machine to advertise.
    ///
    /// ```no_run
    /// use clap::Parser;
    /// use waypost::{Drivers, flags, server::Service};
    ///
    /// #[derive(Parser)]
    /// struct Cli {
    ///     #[command(flatten)]
    ///     waypost: flags::Flags,
    /// }
    ///
    /// # async fn example(router: axum::Router) -> waypost::Result<()> {
    /// let cli = Cli::parse_from(flags::argv());
    /// let greeter = Service::builder("greeter").serve(router);
    /// cli.waypost.connect(greeter, &Drivers::builtin(), "file").await?.run().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Flags::target`] and [`Drivers::connect`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn connect(
        &self,
        service: ServiceBuilder,
        drivers: &Drivers,
        default: &str,
    ) -> Result<ServiceBuilder> {
        let target = self.target(default)?;
        let mut service = self
            .apply(service)
            .registry(drivers.connect(&target).await?);
        for endpoint in drivers.endpoints(&target)? {
            service = service.registry_address(endpoint);
        }
        Ok(service)
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use std::time::Duration;

    use waypost_core::Instance;
    use waypost_server::Service;

    use super::*;
    use crate::flags::parse::tests::flags;

    /// The record of a service whose program says `code`, started with `line` and `environment`.
    async fn record(line: &[&str], environment: &[(&str, &str)]) -> Result<Instance> {
        let flags = flags(line, environment).expect("flags");
        let code = Service::builder("code")
            .version("code")
            .metadata("zone", "code")
            .metadata("rack", "code")
            .address("127.0.0.1:0")
            .register_ttl(Duration::from_secs(9))
            .handle_signals(false)
            .propagation(Duration::ZERO)
            .serve(axum::Router::new());
        let service = flags.connect(code, &Drivers::builtin(), "memory").await?;
        let running = service.start().await?;
        let instance = running.instance().clone();
        running.stop().await?;
        Ok(instance)
    }

    #[tokio::test]
    async fn a_flag_wins_over_the_environment_that_over_the_code_and_that_over_the_default() {
        let line = ["--server_name", "flag", "--server_metadata", "zone=flag"];
        let environment = [
            ("MICRO_SERVER_NAME", "environment"),
            ("MICRO_SERVER_ID", "environment"),
            ("MICRO_SERVER_ADVERTISE", "localhost"),
        ];
        let seen = record(&line, &environment).await.expect("started");
        assert_eq!(seen.service.as_str(), "flag");
        assert_eq!(seen.node.id.as_str(), "environment");
        assert_eq!(seen.node.address.host(), "localhost");
        assert_eq!(seen.version, "code");
        let pair = |key: &str| seen.node.metadata.get(key).map(String::as_str);
        assert_eq!((pair("zone"), pair("rack")), (Some("flag"), Some("code")));
        let bare = record(&[], &[]).await.expect("started");
        assert_eq!(bare.service.as_str(), "code");
        assert!(
            bare.node.id.as_str().starts_with("code-"),
            "{}",
            bare.node.id
        );
    }

    #[tokio::test]
    async fn the_timing_of_flags_is_judged_together_with_that_of_the_code() {
        let line = ["--register_interval", "9"];
        let error = record(&line, &[])
            .await
            .expect_err("not below the code's ttl");
        assert!(
            error.to_string().contains("not below the ttl 9s"),
            "{error}"
        );
        let line = ["--register_interval", "9", "--register_ttl", "10"];
        record(&line, &[]).await.expect("started");
    }
}
